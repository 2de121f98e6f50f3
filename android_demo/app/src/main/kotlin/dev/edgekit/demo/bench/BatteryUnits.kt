package dev.edgekit.demo.bench

import java.util.Locale
import kotlin.math.abs
import kotlin.math.log10
import kotlin.math.max
import kotlin.math.roundToLong

/** What a meter saw of a stretch of time, as `edgekit.meters.Window`. */
class Window(val energyJ: Double, val seconds: Double, val updates: Int, val missed: Int = 0)

/** The energy that left the battery, and by which of its figures. */
class Discharge(val window: Window, val by: String)

/** Why a battery does not serve as a meter, at this time or at all; the message is the record's reason. */
class NoMeter(message: String) : Exception(message)

/**
 * Energy from what the battery tells, by the rules of `edgekit.meters.android`: vendors differ in unit and sign, so
 * these are not believed but found, from the charge that left meanwhile, else from what a phone can draw at all.
 */
object BatteryUnits {
    const val SOURCE = "phone's battery"
    const val SCOPE = "board"

    /** Fewer updates say more about the update than about the work. */
    const val MIN_UPDATES = 10
    private const val NWH = 3600e-9 // joules of a nanowatt-hour
    private const val UAH = 3600e-6 // coulombs of a microampere-hour
    private const val MICRO = 1e-6
    private const val MILLI = 1e-3
    private const val COUNTER_STEPS = 5 // as many changes as make a mean of the charge that left
    private val PHONE_A = 0.02..10.0 // a current that is outside in one unit is inside in the other
    private val BATTERY_V = 2.5..20.0
    private val COUNTER_UAH = 50_000L..50_000_000L // what is left in a battery, if it is a counter at all

    private class Fall(val joules: Double, val steps: Int)

    private class Scale(val stepA: Double, val evidence: String)

    /** The energy between the first and the last reading, by the best figure that moved often enough. */
    fun discharge(readings: List<BatteryReading>): Discharge {
        checkUnplugged(readings)
        if (readings.size < 2) throw NoMeter("${readings.size} readings of the battery make no window")
        val seconds = (readings.last().timeNs - readings.first().timeNs) / 1e9
        for ((by, fall) in listOf("energy counter" to energyCounter(readings), "charge counter" to chargeCounter(readings))) {
            if (fall != null && fall.steps >= MIN_UPDATES) return Discharge(Window(fall.joules, seconds, fall.steps), by)
        }
        return byCurrent(readings, seconds)
    }

    /** @throws NoMeter if a charger fed the phone at any of these moments. */
    fun checkUnplugged(readings: List<BatteryReading>) {
        if (readings.any { it.plugged }) {
            throw NoMeter(
                "the phone is plugged in, so its battery does not show what it draws; measure over Wi-Fi with the cable" +
                    " out: adb tcpip 5555, then adb connect PHONE:5555",
            )
        }
    }

    private fun volts(reading: BatteryReading): Double {
        val told = reading.voltage
        for (factor in doubleArrayOf(MILLI, MICRO)) {
            if (told != null && told * factor in BATTERY_V) return told * factor
        }
        throw NoMeter("the battery's voltage is given as $told, which is neither mV nor uV of a battery")
    }

    private fun energyCounter(readings: List<BatteryReading>) = fallen(readings.map { it.energyCounter }, NWH)

    private fun chargeCounter(readings: List<BatteryReading>): Fall? {
        val counters = readings.map { it.chargeCounter }
        if (!counters.all { it != null && it in COUNTER_UAH }) return null
        return fallen(counters, UAH * readings.map { volts(it) }.average())
    }

    /** Joules by which a counter fell and in how many steps; null where it is not told, or rose. */
    private fun fallen(counters: List<Long?>, unitJ: Double): Fall? {
        val values = counters.filterNotNull().filter { it != 0L }
        val pairs = values.zipWithNext()
        if (values.size < counters.size || pairs.any { (before, after) -> after > before }) return null
        return Fall((values.first() - values.last()) * unitJ, pairs.count { (before, after) -> after != before })
    }

    private fun byCurrent(readings: List<BatteryReading>, seconds: Double): Discharge {
        val scale = currentScale(readings)
        val told = readings.filter { it.current != null }
        val changes = told.zipWithNext().count { (before, after) -> after.current != before.current }
        if (changes < MIN_UPDATES) {
            val needed = seconds * MIN_UPDATES / max(changes, 1)
            throw NoMeter(
                "the phone renewed its current $changes times in ${whole(seconds)} s; measure for at least" +
                    " ${whole(needed)} s ($MIN_UPDATES updates)",
            )
        }
        val energyJ = integrate(told, scale.stepA, readings.first().timeNs, readings.last().timeNs)
        val window = Window(energyJ, seconds, changes, readings.size - told.size)
        return Discharge(window, "current, ${scale.evidence}")
    }

    /** By the trapezoidal rule; before the first current and after the last one the power is taken to be theirs. */
    private fun integrate(told: List<BatteryReading>, stepA: Double, startNs: Long, stopNs: Long): Double {
        val watts = told.map { abs(it.current!!) * stepA * volts(it) }
        var joules = watts.first() * (told.first().timeNs - startNs) + watts.last() * (stopNs - told.last().timeNs)
        for (i in 1 until told.size) joules += (watts[i - 1] + watts[i]) / 2 * (told[i].timeNs - told[i - 1].timeNs)
        return joules / 1e9
    }

    private fun currentScale(readings: List<BatteryReading>): Scale {
        val currents = readings.mapNotNull { it.current }.filter { it != 0L }
        if (currents.isEmpty()) {
            throw NoMeter("the phone tells no current, or always 0; its battery cannot serve as a meter")
        }
        if (currents.any { (it < 0) != (currents.first() < 0) }) {
            throw NoMeter("the battery's current changes its sign while unplugged; it cannot be told what it means")
        }
        return byCounter(readings, currents) ?: byMagnitude(currents)
    }

    /** The unit in which the current agrees with the charge that left meanwhile; null where too little left. */
    private fun byCounter(readings: List<BatteryReading>, currents: List<Long>): Scale? {
        val counted = chargeCounter(readings) ?: return null
        val seconds = (readings.last().timeNs - readings.first().timeNs) / 1e9
        if (counted.steps < COUNTER_STEPS || seconds <= 0) return null
        val leftA = counted.joules / readings.map { volts(it) }.average() / seconds
        val mean = currents.map { abs(it) }.average()
        val stepA = listOf(MICRO, MILLI).minByOrNull { abs(log10(mean * it / leftA)) }!!
        if (abs(log10(mean * stepA / leftA)) > 0.5) {
            val left = String.format(Locale.ROOT, "%.3f", leftA)
            throw NoMeter("the current (${whole(mean)}) and the charge that left ($left A) agree in no unit")
        }
        return Scale(stepA, "as ${unit(stepA)}, by the charge counter")
    }

    private fun byMagnitude(currents: List<Long>): Scale {
        val sorted = currents.map { abs(it) }.sorted()
        val typical = (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2.0
        val fits = listOf(MICRO, MILLI).filter { typical * it in PHONE_A }
        if (fits.size != 1) throw NoMeter("a current of ${whole(typical)} is plausible neither in uA nor in mA")
        return Scale(fits.single(), "as ${unit(fits.single())}, by its size")
    }

    private fun unit(stepA: Double): String = if (stepA == MICRO) "uA" else "mA"

    private fun whole(value: Double): String = value.roundToLong().toString()
}
