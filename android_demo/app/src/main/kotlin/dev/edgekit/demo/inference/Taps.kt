package dev.edgekit.demo.inference

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

/**
 * Which pixels of a line make each pixel of the resized line, and with what weight.
 *
 * Output `i` is the sum of `weights[i * most + k]` times input `first[i] + k`, for k below `count[i]`. Weights are whole
 * numbers of 2^-[BITS], as Pillow's resampling of 8-bit images takes them (src/libImaging/Resample.c): a triangle over
 * two pixels, widened by the scale where the line shrinks, so that every pixel has its share.
 */
internal class Taps private constructor(size: Int, val most: Int) {
    val first = IntArray(size)
    val count = IntArray(size)
    val weights = IntArray(size * most)

    /** How many output pixels. */
    val size: Int get() = first.size

    /** The first input that any output needs, and the one after the last. */
    var start = 0
        private set
    var end = 0
        private set

    private fun fill(line: Line) {
        val scratch = DoubleArray(most)
        for (output in first.indices) {
            val position = line.from + output
            if (position in 0 until line.outSize) fillOne(output, line, position, scratch)
        }
        if (line.reversed) reverse(line.inSize)
        val used = first.indices.filter { count[it] > 0 }
        start = used.minOfOrNull { first[it] } ?: 0
        end = used.maxOfOrNull { first[it] + count[it] } ?: 0
    }

    private fun fillOne(output: Int, line: Line, position: Int, scratch: DoubleArray) {
        val center = line.box0 + (position + 0.5) * line.scale
        val from = max(0, (center - line.support + 0.5).toInt())
        val taps = min(line.inSize, (center + line.support + 0.5).toInt()) - from
        var sum = 0.0
        for (k in 0 until taps) {
            scratch[k] = max(0.0, 1.0 - abs((k + from - center + 0.5) * (1.0 / line.support)))
            sum += scratch[k]
        }
        for (k in 0 until taps) {
            val weight = if (sum != 0.0) scratch[k] / sum else scratch[k]
            weights[output * most + k] = (0.5 + weight * (1 shl BITS)).toInt()
        }
        first[output] = from
        count[output] = taps
    }

    /** The same for a line that is stored from its other end. */
    private fun reverse(inSize: Int) {
        for (output in first.indices) {
            first[output] = inSize - first[output] - count[output]
            weights.reverse(output * most, output * most + count[output])
        }
    }

    /** Bilinear's support is one pixel of the larger scale, so it is the scale as well. */
    private class Line(
        val inSize: Int,
        val box0: Float,
        box1: Float,
        val outSize: Int,
        val from: Int,
        val reversed: Boolean,
    ) {
        val scale = (box1 - box0).toDouble() / outSize
        val support = max(1.0, scale)
    }

    companion object {
        /** The weights' fraction in bits: 255 times their sum just fits into 31. */
        const val BITS = 22

        /** What rounds a sum when its fraction is cut off. */
        const val HALF = 1 shl (BITS - 1)

        /**
         * Pixels [from] until [until] of a line of [inSize] pixels resized to [outSize]; those outside of it are black.
         *
         * Only [box0] to [box1] of the line is resized. It is [reversed] where the stored line runs the other way.
         */
        fun bilinear(
            inSize: Int,
            outSize: Int,
            from: Int,
            until: Int,
            reversed: Boolean = false,
            box0: Float = 0f,
            box1: Float = inSize.toFloat(),
        ): Taps {
            val line = Line(inSize, box0, box1, outSize, from, reversed)
            return Taps(until - from, Math.ceil(line.support).toInt() * 2 + 1).apply { fill(line) }
        }
    }
}
