package dev.edgekit.demo.bench

import dev.edgekit.demo.record.Energy
import java.util.Locale
import kotlin.math.ceil
import kotlin.math.hypot
import kotlin.math.max
import kotlin.math.pow
import kotlin.math.sqrt

/** The phone at rest: its power, the standard error of that, and how long it was measured. */
class Idle(val powerW: Double, val scatterW: Double, val seconds: Double)

/** A meter with the power at rest, for all models of a session; see `edgekit.energy`. */
class RestingMeter private constructor(val meter: Meter, val idle: Idle?, val idleReason: String?) {
    companion object {
        private const val IDLE_WINDOWS = 3
        private const val IDLE_UPDATES = 1.5 * BatteryUnits.MIN_UPDATES

        /** Measures at rest, while nothing else is done; takes some three quarters of a minute for a battery. */
        fun atRest(meter: Meter, clock: Clock): RestingMeter = try {
            val windows = List(IDLE_WINDOWS) { rest(meter, clock) }
            val powers = windows.map { it.energyJ / it.seconds }
            val idle = Idle(powers.average(), deviation(powers) / sqrt(powers.size.toDouble()), windows.sumOf { it.seconds })
            RestingMeter(meter, idle, null)
        } catch (error: NoMeter) {
            RestingMeter(meter, null, error.message)
        }

        private fun rest(meter: Meter, clock: Clock): Window {
            meter.start()
            clock.sleep((1000 * max(1.0, ceil(IDLE_UPDATES) * meter.resolutionS)).toLong())
            return meter.stop()
        }
    }
}

/** The windows of one model in a session; without a meter, or after one window without a figure, a reason. */
class EnergyAccount(private var resting: RestingMeter?, reason: String?) {
    /** Why there is no energy; null while there is. */
    var reason: String? = reason
        private set
    private val windows = ArrayList<Window>()
    private val runs = ArrayList<Int>()
    private val metered = LongSeries()
    private val bare = LongSeries()

    /** Whether a meter works during the windows, so that its cost has to be measured. */
    val sampling: Boolean get() = resting != null

    /** Begins a window. */
    fun open() {
        resting?.meter?.start()
    }

    /** Ends it: these inferences ran within. */
    fun close(latencyNs: LongArray) {
        val meter = resting?.meter ?: return
        try {
            windows.add(meter.stop())
            runs.add(latencyNs.size)
            metered.add(latencyNs)
        } catch (error: NoMeter) {
            reason = error.message
            resting = null
        }
    }

    /** The same inferences outside of all windows. */
    fun bare(latencyNs: LongArray) = bare.add(latencyNs)

    /** What one inference took; null where [reason] says why. */
    fun energy(): Energy? {
        val resting = resting ?: return null
        if (windows.isEmpty()) {
            reason = "no inference ran within a window of ${resting.meter.source}"
            return null
        }
        val seconds = windows.sumOf { it.seconds }
        val grossJ = windows.sumOf { it.energyJ } / runs.sum()
        val eachS = seconds / runs.sum()
        val grossScatterJ = scatter()
        return Energy(
            energyJ = grossJ,
            source = resting.meter.source,
            scope = resting.meter.scope,
            netJ = resting.idle?.let { grossJ - it.powerW * eachS },
            idlePowerW = resting.idle?.powerW,
            idleS = resting.idle?.seconds,
            idleReason = resting.idleReason,
            scatterJ = hypot(grossScatterJ, (resting.idle?.scatterW ?: 0.0) * eachS),
            seconds = seconds,
            windows = windows.size,
            updates = windows.sumOf { it.updates },
            missed = windows.sumOf { it.missed },
            resolutionS = resting.meter.resolutionS,
            samplerRatio = samplerRatio(),
            unsampledNs = bare.values(),
            tooShort = tooShort(grossScatterJ, grossJ, seconds),
        )
    }

    private fun samplerRatio(): Double? =
        if (bare.size == 0) null else Statistics.median(metered.values()) / Statistics.median(bare.values())

    /** Standard error of the gross energy of one inference: from window to window, but no less than the edges make. */
    private fun scatter(): Double {
        val edges = sqrt(windows.sumOf { (EDGES * it.energyJ / max(it.updates, 1)).pow(2) }) / runs.sum()
        if (windows.size < 2) return edges
        val each = windows.indices.map { windows[it].energyJ / runs[it] }
        return max(edges, deviation(each) / sqrt(each.size.toDouble()))
    }

    private fun tooShort(scatterJ: Double, energyJ: Double, seconds: Double): String? {
        if (energyJ <= 0) return "no energy was seen in ${fixed(seconds, 1)} s; measure for longer"
        val share = scatterJ / energyJ
        if (share <= PRECISION) return null
        val needed = seconds * (share / PRECISION).pow(2)
        val scatter = "scatters by ${fixed(share * 100, 0)}% in ${fixed(seconds, 1)} s where 5% is wanted"
        return "$scatter; measure for ${fixed(needed, 0)} s"
    }

    private fun fixed(value: Double, places: Int): String = String.format(Locale.ROOT, "%.${places}f", value)

    companion object {
        private const val PRECISION = 0.05
        private val EDGES = sqrt(2.0 / 12) // of an update: both edges of a window fall anywhere between two

        /** The shortest window worth opening: twice the updates that it must have. */
        fun shortestS(resting: RestingMeter?): Double =
            if (resting == null) 0.0 else 2 * BatteryUnits.MIN_UPDATES * resting.meter.resolutionS
    }
}

/** The standard deviation of a sample, 2 values or more. */
private fun deviation(values: List<Double>): Double {
    val mean = values.average()
    return sqrt(values.sumOf { (it - mean).pow(2) } / (values.size - 1))
}

/** A growing row of numbers without boxes. */
class LongSeries {
    private var numbers = LongArray(1024)
    var size = 0
        private set

    fun add(number: Long) {
        if (size == numbers.size) numbers = numbers.copyOf(2 * size)
        numbers[size++] = number
    }

    fun add(all: LongArray) {
        for (number in all) add(number)
    }

    fun values(): LongArray = numbers.copyOf(size)
}
