package dev.edgekit.demo.bench

import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.State
import dev.edgekit.demo.record.Verdict
import java.util.Locale
import kotlin.math.abs
import kotlin.math.max

/**
 * Whether a measurement may be believed; limits and reasons are those of `edgekit.validity`, which says why each is
 * what it is. Checks of what only other machines tell (a Raspberry Pi's bits, x86's counters) are not here.
 */
object Validity {
    const val VALID = "valid"
    const val SUSPECT = "suspect"
    const val INVALID = "invalid"
    private const val PRECISION = 0.025
    private const val HOPELESS = 0.10
    private const val DRIFT = 0.03
    private const val DRIFT_P = 0.01
    private const val PROBE = 0.03
    private const val PROBE_INVALID = 0.10
    private const val OTHER_LOAD = 0.10
    private const val OTHER_LOAD_INVALID = 0.50
    private const val STOLEN = 0.01
    private const val CLOCK_SPREAD = 0.05
    private const val SWAP_BYTES = 1 shl 20
    private const val WALL_CLOCK_S = 0.1
    private const val WALL_CLOCK_SLEW = 0.0005
    private const val SLEPT_S = 0.01
    private val THERMAL = listOf("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")

    private class Finding(val word: String, val reason: String)

    private val checks: List<(Measurement) -> List<Finding>> = listOf(
        { unwatched(it) },
        { thermalStatus(it) },
        { background(it) },
        { clock(it) },
        { powerSource(it) },
        { powerSave(it) },
        { slept(it) },
        { probed(it) },
        { otherLoad(it) },
        { swap(it) },
        { unsettled(it) },
        { drifting(it) },
        { noisy(it) },
    )

    /** What the record itself says of its worth; the worst finding decides, and all are given. */
    fun judge(measurement: Measurement): Verdict {
        val findings = checks.flatMap { it(measurement) }
        val invalid = findings.filter { it.word == INVALID }.map { it.reason }
        val suspect = findings.filter { it.word == SUSPECT }.map { it.reason }
        val word = if (invalid.isNotEmpty()) INVALID else if (suspect.isNotEmpty()) SUSPECT else VALID
        return Verdict(word, invalid + suspect, notes(measurement))
    }

    private fun invalid(reason: String) = listOf(Finding(INVALID, reason))

    private fun suspect(reason: String) = listOf(Finding(SUSPECT, reason))

    private fun unwatched(measurement: Measurement): List<Finding> =
        if (measurement.states.isEmpty()) suspect("nothing is known of the machine during the session") else emptyList()

    private fun thermalStatus(measurement: Measurement): List<Finding> {
        val worst = measurement.states.maxOfOrNull { it.thermalStatus ?: 0 } ?: 0
        if (worst <= 0) return emptyList()
        val reason = "throttled: the phone's thermal status was $worst (${THERMAL[worst.coerceAtMost(THERMAL.size - 1)]})"
        return if (worst == 1) suspect(reason) else invalid(reason)
    }

    private fun background(measurement: Measurement): List<Finding> =
        if (measurement.states.any { it.foreground == false }) invalid("the app left the screen during the session") else emptyList()

    /** The state before the first slice is left out: a governor may not have risen by then. */
    private fun clock(measurement: Measurement): List<Finding> {
        val found = ArrayList<Finding>()
        val running = measurement.states.drop(1)
        val limits = running.mapNotNull { it.frequencyLimitKhz }
        if (limits.isNotEmpty() && limits.min() < limits.max()) {
            found += invalid("clock changed: the limit went from ${mhz(limits.max())} to ${mhz(limits.min())}")
        }
        val seen = running.dropLast(1).ifEmpty { running }.mapNotNull { it.frequencyKhz }
        if (seen.isNotEmpty() && 1 - seen.min().toDouble() / seen.max() > CLOCK_SPREAD) {
            found += suspect("clock changed: between ${mhz(seen.min())} and ${mhz(seen.max())}")
        }
        val governors = measurement.states.mapNotNull { it.governor }.toSortedSet()
        if (governors.size > 1) found += suspect("clock changed: the governor was ${governors.joinToString(" and ")}")
        return found
    }

    private fun powerSource(measurement: Measurement): List<Finding> {
        val sources = measurement.states.mapNotNull { it.powerSource }.distinct()
        return if (sources.size > 1) suspect("power source changed: ${sources.joinToString(" and ")}") else emptyList()
    }

    private fun powerSave(measurement: Measurement): List<Finding> =
        if (measurement.states.any { it.powerSave == true }) suspect("battery saver was on, which lowers the clock") else emptyList()

    private fun slept(measurement: Measurement): List<Finding> {
        val slept = measurement.states.mapNotNull { it.sleptNs }
        if (slept.isEmpty()) return emptyList()
        val seconds = (slept.last() - slept.first()) / 1e9
        return if (seconds > SLEPT_S) invalid("the machine was suspended for ${fixed(seconds, 1)} s during the session") else emptyList()
    }

    /** By the quickest goes, which other processes disturb least. */
    private fun probed(measurement: Measurement): List<Finding> {
        val before = measurement.probe?.beforeNs?.minOrNull() ?: return emptyList()
        val after = measurement.probe.afterNs.minOrNull() ?: return emptyList()
        val change = after.toDouble() / before - 1
        if (abs(change) <= PROBE) return emptyList()
        val reason = "the machine changed: fixed work took ${signedPercent(change)} time after the session"
        return if (abs(change) > PROBE_INVALID) invalid(reason) else suspect(reason)
    }

    private fun otherLoad(measurement: Measurement): List<Finding> {
        val found = ArrayList<Finding>()
        val others = otherCores(measurement.states)
        val cores = measurement.fingerprint.cores
        if (others != null && others > OTHER_LOAD) {
            val crowded = measurement.threads + others > cores && others > OTHER_LOAD_INVALID
            val reason = "other load: ${fixed(others, 2)} of $cores cores were busy with something else"
            found += if (crowded) invalid(reason) else suspect(reason)
        }
        val stolen = perSecond(measurement.states) { it.stolenS }
        if (stolen != null && stolen > STOLEN) found += suspect("other load: a hypervisor took ${percent(stolen)} of a core")
        return found
    }

    /** How many cores others kept busy from the first state to the last; null where the system does not tell. */
    private fun otherCores(states: List<State>): Double? {
        val busy = perSecond(states) { it.busyS } ?: return null
        val own = perSecond(states) { it.ownS } ?: return null
        return max(0.0, busy - own)
    }

    private fun swap(measurement: Measurement): List<Finding> {
        val used = measurement.states.mapNotNull { it.swapUsedBytes }
        if (used.isEmpty() || used.max() - used.min() <= SWAP_BYTES) return emptyList()
        return suspect("other load: ${fixed((used.max() - used.min()) / 1e6, 1)} MB were swapped during the session")
    }

    private fun unsettled(measurement: Measurement): List<Finding> {
        val warmup = measurement.warmup ?: return emptyList()
        if (warmup.stable) return emptyList()
        return suspect("drifting: not stable after ${fixed(warmup.seconds, 1)} s of warm-up")
    }

    private fun drifting(measurement: Measurement): List<Finding> {
        val found = Statistics.drift(measurement.latencyNs) ?: return emptyList()
        if (abs(found.change) <= DRIFT || found.pValue >= DRIFT_P) return emptyList()
        return suspect("drifting: ${signedPercent(found.change)} from the first slice to the last")
    }

    private fun noisy(measurement: Measurement): List<Finding> {
        val precision = Statistics.medianPrecision(slices(measurement)) ?: return emptyList()
        if (precision <= PRECISION) return emptyList()
        val reason = "noisy: the median is known to ${percent(precision)} only"
        return if (precision > HOPELESS) invalid(reason) else suspect(reason)
    }

    /** The latencies slice by slice; nothing where the record does not tell its slices. */
    fun slices(measurement: Measurement): List<LongArray> {
        if (measurement.slices.sum() != measurement.latencyNs.size) return emptyList()
        var end = 0
        return measurement.slices.map { size ->
            end += size
            measurement.latencyNs.copyOfRange(end - size, end)
        }
    }

    /** What does not speak against the figures but belongs beside them. */
    private fun notes(measurement: Measurement): List<String> {
        val notes = ArrayList<String>()
        wallClockJumpS(measurement.states)?.let {
            notes += "the wall clock was set by ${signed(it)} s; latencies are taken by a clock that this does not touch"
        }
        if (measurement.states.any { it.powerSource == "battery" }) notes += "on battery"
        val seconds = measurement.latencyNs.sum() / 1e9
        val protocol = measurement.protocol
        if (measurement.latencyNs.size >= protocol.maxRuns && seconds < protocol.minSeconds) {
            notes += "ended after ${fixed(seconds, 0)} s by the limit of ${protocol.maxRuns} runs"
        }
        val untold = untold(measurement.states)
        if (untold.isNotEmpty()) notes += "this system does not tell: ${untold.joinToString()}"
        return notes
    }

    private fun untold(states: List<State>): List<String> {
        if (states.isEmpty()) return emptyList()
        val untold = ArrayList<String>()
        if (states.all { it.frequencyKhz == null }) untold += "frequency"
        if (states.all { it.temperatureC == null }) untold += "temperature"
        if (states.all { it.busyS == null }) untold += "load"
        return untold
    }

    /** By how much the wall clock was set during the session; null where it was not. */
    private fun wallClockJumpS(states: List<State>): Double? {
        for ((before, after) in states.zipWithNext()) {
            val movedS = (after.clockOffsetNs - before.clockOffsetNs) / 1e9
            val sleptS = ((after.sleptNs ?: 0) - (before.sleptNs ?: 0)) / 1e9
            if (abs(movedS - sleptS) > WALL_CLOCK_S + WALL_CLOCK_SLEW * (after.atS - before.atS)) return movedS - sleptS
        }
        return null
    }

    /** How fast a running total rose from the first state to the last. */
    private fun perSecond(states: List<State>, field: (State) -> Double?): Double? {
        val told = states.filter { field(it) != null }
        if (told.size < 2 || told.last().atS <= told.first().atS) return null
        return (field(told.last())!! - field(told.first())!!) / (told.last().atS - told.first().atS)
    }

    private fun mhz(khz: Long): String = "${fixed(khz / 1000.0, 0)} MHz"

    private fun percent(share: Double): String = "${fixed(share * 100, 1)}%"

    private fun signedPercent(share: Double): String = "${signed(share * 100)}%"

    private fun fixed(value: Double, places: Int): String = String.format(Locale.ROOT, "%.${places}f", value)

    private fun signed(value: Double): String = String.format(Locale.ROOT, "%+.1f", value)
}
