package dev.edgekit.demo.ui

import java.util.Locale
import kotlin.math.abs

/**
 * Numbers as people read them, in the phone's language; a number that was not measured is a dash. A unit stays on the
 * line of its number.
 */
object Figures {
    const val NONE = "–"

    /** Milliseconds with three digits that mean something: 0.042, 4.21, 42.1, 421. */
    fun milliseconds(nanoseconds: Double?): String {
        if (nanoseconds == null) return NONE
        val value = nanoseconds / 1e6
        val digits = when {
            value < 1 -> 3
            value < 10 -> 2
            value < 100 -> 1
            else -> 0
        }
        return decimal(value, digits)
    }

    /** A share of 0 to 1 as whole per cent; never 0 or 100 for what is neither. */
    fun percent(share: Float): String = when {
        share > 0f && share < 0.01f -> "<1\u00A0%"
        share < 1f && share > 0.99f -> ">99\u00A0%"
        else -> "${Math.round(share * 100)}\u00A0%"
    }

    /** Bytes as megabytes, which are 1,000,000 here as in every file that edgekit writes. */
    fun megabytes(bytes: Long): String = "${decimal(bytes / 1e6, 2)}\u00A0MB"

    /** Energy of one inference. */
    fun millijoules(joules: Double?): String = if (joules == null) NONE else "${decimal(joules * 1e3, 2)}\u00A0mJ"

    /** How many times one is of the other. */
    fun ratio(value: Double): String = "${decimal(value, 2)}\u00A0×"

    /** A duration in the largest unit that fits. */
    fun duration(seconds: Double): String = when {
        seconds < 90 -> "${decimal(seconds, if (seconds < 10 && abs(seconds - Math.round(seconds)) > 0.05) 1 else 0)}\u00A0s"
        else -> "${decimal(seconds / 60, 0)}\u00A0min"
    }

    /** A number with so many digits after the point. */
    fun decimal(value: Double, digits: Int): String = String.format(Locale.getDefault(), "%.${digits}f", value)
}
