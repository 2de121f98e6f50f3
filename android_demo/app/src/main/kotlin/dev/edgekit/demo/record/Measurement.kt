package dev.edgekit.demo.record

/** How long and how often, as `edgekit.measurement.Protocol`: warm up, then [minRuns] and [minSeconds] in [rounds]. */
data class Protocol(
    val name: String,
    val warmupS: Double,
    val minRuns: Int,
    val minSeconds: Double,
    val maxRuns: Int = MAX_RUNS,
    val seed: Int = 0,
    val warmupMostS: Double = WARMUP_MOST_S,
    val rounds: Int = ROUNDS,
    val starts: Int = 1,
    val percentile: Double? = null,
) {
    /** What holds where a protocol does not say, here as in Python. */
    companion object {
        const val MAX_RUNS = 100_000
        const val WARMUP_MOST_S = 10.0
        const val ROUNDS = 10
    }
}

/** What is asked of a benchmark: [meter] is "none", "auto" or "android"; [inputs] "random" or "golden". */
data class Session(
    val protocol: Protocol,
    val threads: Int = 1,
    val meter: String = "none",
    val cores: List<Int> = emptyList(),
    val inputs: String = "random",
)

/** The phone as it was; null where the system does not tell. */
data class Fingerprint(
    val board: String?,
    val cpu: String?,
    val cores: Int,
    val arch: String,
    val os: String,
    val runtime: String,
    val runtimeVersion: String,
    val governor: String? = null,
    val frequencyKhz: Long? = null,
    val temperatureC: Double? = null,
    val load1Min: Double? = null,
    val soc: String? = null,
    val frequencyMaxKhz: Long? = null,
    val powerSource: String? = null,
    val swapUsedBytes: Long? = null,
)

/**
 * The phone at one moment of a session; null where the system does not tell.
 *
 * [atS]: seconds since the session began. [clockOffsetNs]: the wall clock less the monotonic one. [sleptNs]: how long
 * the phone has been suspended since it started. [thermalStatus]: Android's, 0 (none) to 6 (shutdown).
 * [thermalHeadroom]: heat as a share of that at which severe throttling begins. [foreground]: whether the app was on
 * the screen at every moment since the look before. [powerSave]: whether battery saver is on.
 */
data class State(
    val atS: Double,
    val clockOffsetNs: Long,
    val sleptNs: Long? = null,
    val frequencyKhz: Long? = null,
    val frequencyLimitKhz: Long? = null,
    val governor: String? = null,
    val temperatureC: Double? = null,
    val powerSource: String? = null,
    val load1Min: Double? = null,
    val swapUsedBytes: Long? = null,
    val busyS: Double? = null,
    val stolenS: Double? = null,
    val ownS: Double? = null,
    val thermalStatus: Int? = null,
    val thermalHeadroom: Double? = null,
    val foreground: Boolean? = null,
    val powerSave: Boolean? = null,
)

/** Nanoseconds of each go at the same fixed work, before and after the session. */
class Probe(val beforeNs: LongArray, val afterNs: LongArray)

/** How long the warm-up took; [stable] is whether its last stretch showed no drift, else the limit ended it. */
data class WarmUp(val runs: Int, val seconds: Double, val stable: Boolean)

/** Whether a measurement may be believed, why, and what else a reader may want. */
data class Verdict(val word: String, val reasons: List<String> = emptyList(), val notes: List<String> = emptyList())

/** How much of the graph a delegate runs; both numbers are 0 where the runtime does not tell. */
data class Delegation(val delegate: String, val operators: Int, val taken: Int)

/** Measured energy of one inference; the fields are those of `edgekit.measurement.Energy`. */
class Energy(
    val energyJ: Double,
    val source: String,
    val scope: String,
    val netJ: Double? = null,
    val idlePowerW: Double? = null,
    val idleS: Double? = null,
    val idleReason: String? = null,
    val scatterJ: Double? = null,
    val seconds: Double? = null,
    val windows: Int? = null,
    val updates: Int? = null,
    val missed: Int? = null,
    val resolutionS: Double? = null,
    val samplerRatio: Double? = null,
    val unsampledNs: LongArray = LongArray(0),
    val tooShort: String? = null,
)

/** What a model needs of memory; null with the reason in [arenaMethod] where it is not known. */
data class Memory(val weightBytes: Long?, val arenaBytes: Long?, val arenaMethod: String)

/**
 * One artifact timed on this phone; [latencyNs] holds every counted inference in order, [slices] how many of them each
 * slice of the session has. The fields are those of `edgekit.measurement.Measurement`.
 */
data class Measurement(
    val artifactSha256: String,
    val artifactName: String,
    val model: String?,
    val recipe: String?,
    val sizeBytes: Long,
    val device: String,
    val protocol: Protocol,
    val threads: Int,
    val latencyNs: LongArray,
    val loadNs: Long,
    val firstNs: Long,
    val delegation: Delegation,
    val fingerprint: Fingerprint,
    val startedUtc: String,
    val energy: Energy? = null,
    val energyReason: String? = null,
    val session: String? = null,
    val slices: List<Int> = emptyList(),
    val inputs: String = "random",
    val inputNs: LongArray = LongArray(0),
    val warmup: WarmUp? = null,
    val memory: Memory? = null,
    val states: List<State> = emptyList(),
    val probe: Probe? = null,
    val verdict: Verdict? = null,
) {
    companion object {
        /** The schema of the line, as Python's `edgekit.measurement.SCHEMA`. */
        const val SCHEMA = 1
    }
}
