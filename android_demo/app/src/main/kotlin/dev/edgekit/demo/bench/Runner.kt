package dev.edgekit.demo.bench

import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.inference.Classifier
import dev.edgekit.demo.inference.ElementType
import dev.edgekit.demo.inference.Preprocessor
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Memory
import dev.edgekit.demo.record.Probe
import dev.edgekit.demo.record.Protocol
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.State
import dev.edgekit.demo.record.WarmUp
import java.nio.ByteBuffer
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.Random
import java.util.TimeZone
import java.util.UUID
import java.util.concurrent.CancellationException
import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.max
import kotlin.math.min

/** A model that is to be timed: [content] is the whole file, direct or mapped. */
class Subject(val artifact: Artifact, val content: ByteBuffer, val accelerator: Accelerator = Accelerator.CPU)

/** What the runner tells while it works, on its own thread, between slices and never inside one. */
interface Progress {
    /** [share] of the session is done, 0 to 1; [what] says in a few words what comes next. */
    fun at(share: Double, what: String) {}

    /** A slice of the subject with this number is done. */
    fun slice(subject: Int, latencyNs: LongArray, state: State) {}
}

/**
 * Times models by the protocol of `edgekit.bench`, A B A B in slices, so that a phone that drifts does so for all of
 * them alike; blocks the thread that calls it.
 */
class Runner(
    private val runtime: Runtime,
    private val machine: Machine,
    private val clock: Clock = SystemClocks,
) {
    @Volatile
    private var cancelled = false

    /**
     * One measurement for each subject, with its verdict.
     *
     * A subject whose delegate fails falls back to the CPU, and the verdict's notes tell the reason.
     *
     * @throws Refusal for a model that cannot run and a session that this app cannot do.
     * @throws CancellationException after [cancel].
     */
    fun measure(subjects: List<Subject>, session: Session, progress: Progress): List<Measurement> {
        check(session)
        cancelled = false
        progress.at(0.0, "measuring the phone at rest")
        val (resting, reason) = meter(session.meter)
        val lanes = ArrayList<Lane>()
        try {
            for (subject in subjects) {
                progress.at(0.0, "loading ${subject.artifact.name}")
                lanes.add(lane(subject, session, EnergyAccount(resting, reason)))
            }
            return run(lanes, session, resting, progress)
        } finally {
            lanes.forEach { it.classifier.close() }
        }
    }

    /** Ends the session at the next slice, from any thread. */
    fun cancel() {
        cancelled = true
    }

    private fun check(session: Session) {
        val protocol = session.protocol
        if (session.threads < 1 || protocol.maxRuns < 1 || protocol.rounds < 1) {
            val asked = "${session.threads} threads, at most ${protocol.maxRuns} runs and ${protocol.rounds} rounds"
            throw Refusal("asked for $asked; all must be 1 or more")
        }
        if (session.cores.isNotEmpty()) {
            throw Refusal("asked for the cores ${session.cores}; Android lets no app choose its cores: leave them out")
        }
        if (protocol.starts > 1) {
            throw Refusal("asked for ${protocol.starts} cold starts; the app has one process, so choose another protocol")
        }
        if (session.inputs != RANDOM && session.inputs != GOLDEN) {
            throw Refusal("asked for the inputs '${session.inputs}'; the app has $RANDOM and $GOLDEN")
        }
    }

    /** The meter, or the reason why there is none. */
    private fun meter(asked: String): Pair<RestingMeter?, String?> {
        if (asked == "none") return null to "no meter was asked for"
        if (asked != "auto" && asked != "android") {
            return null to "asked for the meter $asked; the app reads the phone's battery: ask for android"
        }
        val reading = machine.battery() ?: return null to "the phone tells nothing of its battery"
        try {
            BatteryUnits.checkUnplugged(listOf(reading))
        } catch (error: NoMeter) {
            return null to error.message
        }
        return RestingMeter.atRest(BatteryMeter(machine), clock) to null
    }

    /** One artifact on its way through a session. */
    private class Lane(
        val subject: Subject,
        val classifier: Classifier,
        val account: EnergyAccount,
        val startedUtc: String,
        val loadNs: Long,
        val firstNs: Long,
        val fallback: String?,
    ) {
        val samples = LongSeries()
        val slices = ArrayList<Int>()
        val states = ArrayList<State>()
        var warmup: WarmUp? = null
        var elapsedNs = 0L
    }

    private fun lane(subject: Subject, session: Session, account: EnergyAccount): Lane {
        val startedUtc = utcNow()
        var fallback: String? = null
        var start = clock.nanos()
        val classifier = try {
            runtime.open(subject.content, session.threads, subject.accelerator)
        } catch (error: Refusal) {
            if (subject.accelerator == Accelerator.CPU) throw error
            fallback = error.message
            start = clock.nanos()
            runtime.open(subject.content, session.threads, Accelerator.CPU)
        }
        val loadNs = clock.nanos() - start
        try {
            fill(subject.artifact, classifier, session)
            return Lane(subject, classifier, account, startedUtc, loadNs, classifier.run(), fallback)
        } catch (error: Throwable) { // nobody else knows of it yet
            classifier.close()
            throw error
        }
    }

    private fun fill(artifact: Artifact, classifier: Classifier, session: Session) {
        if (session.inputs == RANDOM) return noise(classifier, session.protocol.seed)
        val golden = artifact.golden ?: throw Refusal("${artifact.name} has no golden image; use random inputs")
        Preprocessor(artifact.card.input, classifier.input).miniature(golden.pixels, classifier.inputBuffer)
    }

    /** Seeded noise over the input's range (floats: 0 to 1). */
    private fun noise(classifier: Classifier, seed: Int) {
        val random = Random(seed.toLong())
        val buffer = classifier.inputBuffer
        if (classifier.input.type == ElementType.FLOAT32) {
            for (number in 0 until classifier.input.elements) buffer.putFloat(4 * number, random.nextFloat())
        } else {
            for (byte in 0 until classifier.input.bytes) buffer.put(byte, random.nextInt().toByte())
        }
    }

    private fun run(lanes: List<Lane>, session: Session, resting: RestingMeter?, progress: Progress): List<Measurement> {
        val shortestS = EnergyAccount.shortestS(resting)
        val paced = session.protocol.copy(minSeconds = max(session.protocol.minSeconds, shortestS))
        val rounds = rounds(paced, shortestS)
        val steps = lanes.size * (1.0 + rounds)
        lanes.forEachIndexed { number, lane ->
            progress.at(number / steps, "warming up ${lane.subject.artifact.name}")
            lane.warmup = warmUp(lane, paced)
        }
        val probing = Probing(clock)
        val probedBefore = probing.goes()
        val sinceNs = clock.nanos()
        machine.state(sinceNs) // whether the app was on the screen before now does not matter
        val before = machine.state(sinceNs)
        for (round in 1..rounds) {
            lanes.forEachIndexed { number, lane ->
                checkCancelled()
                val share = (lanes.size + (round - 1) * lanes.size + number) / steps
                progress.at(share, "${lane.subject.artifact.name}, slice $round of $rounds")
                val samples = measureSlice(lane, paced, round, rounds, alone = lanes.size == 1)
                lane.states.add(machine.state(sinceNs))
                progress.slice(number, samples, lane.states.last())
            }
        }
        val after = machine.state(sinceNs)
        val probe = Probe(probedBefore, probing.goes())
        progress.at(1.0, "done")
        val id = UUID.randomUUID().toString().replace("-", "")
        return lanes.map { judged(it, measurement(it, session, id, listOf(before) + it.states + after, probe)) }
    }

    /** How many slices: fewer for a slow meter, whose window would be refused or all edges. */
    private fun rounds(protocol: Protocol, shortestS: Double): Int {
        if (shortestS == 0.0) return protocol.rounds
        return max(1, min(protocol.rounds, (protocol.minSeconds / shortestS).toInt()))
    }

    /** Runs in stretches until one of them does not drift, or the limit is reached. */
    private fun warmUp(lane: Lane, protocol: Protocol): WarmUp {
        val start = clock.nanos()
        val limit = start + nanos(max(protocol.warmupS, protocol.warmupMostS))
        var runs = 0
        var stable = protocol.warmupS <= 0
        while (!stable && (runs == 0 || clock.nanos() < limit)) {
            checkCancelled()
            val stretch = stretch(lane.classifier, clock.nanos() + nanos(protocol.warmupS), limit)
            runs += stretch.size
            stable = settled(stretch)
        }
        return WarmUp(runs, (clock.nanos() - start) / 1e9, stable)
    }

    /** Inferences until [end], and on to as many as show a drift, but none that begins after [limit]. */
    private fun stretch(classifier: Classifier, end: Long, limit: Long): LongArray {
        val samples = LongSeries()
        while (true) {
            val now = clock.nanos()
            if (now >= end && (samples.size >= Statistics.DRIFT_LEAST || now >= limit)) return samples.values()
            samples.add(classifier.run())
        }
    }

    /** Too few samples show nothing, so they are no sign of a machine that has settled. */
    private fun settled(samples: LongArray): Boolean {
        val found = Statistics.drift(samples) ?: return false
        return abs(found.change) <= SETTLED || found.pValue >= SETTLED_P
    }

    /** Brings the lane to this round's share of the runs and seconds that the protocol asks for. */
    private fun measureSlice(lane: Lane, protocol: Protocol, round: Int, rounds: Int, alone: Boolean): LongArray {
        val share = round.toDouble() / rounds
        val atLeast = ceil(min(protocol.minRuns, protocol.maxRuns) * share).toInt()
        val atMost = max(atLeast, (protocol.maxRuns * share).toInt())
        if (!alone) lane.classifier.run() // uncounted: the other models have taken the caches
        val bareS = if (lane.account.sampling) protocol.minSeconds / rounds / BARE_PART else 0.0
        if (round % 2 == 1) measureBare(lane, bareS) // now before the window, now after it, so that a drift cancels
        lane.account.open()
        val done = lane.samples.size
        val start = clock.nanos()
        val stop = start + nanos(protocol.minSeconds * share) - lane.elapsedNs
        val samples = timed(lane.classifier, atLeast - done, atMost - done, stop)
        lane.elapsedNs += clock.nanos() - start
        lane.account.close(samples)
        lane.samples.add(samples)
        lane.slices.add(samples.size)
        if (round % 2 == 0) measureBare(lane, bareS)
        return samples
    }

    /** The same inferences with the meter at rest: what it costs shows against these. */
    private fun measureBare(lane: Lane, seconds: Double) {
        if (seconds > 0) lane.account.bare(timed(lane.classifier, 1, BARE_MOST, clock.nanos() + nanos(seconds)))
    }

    /** Inferences until [stop] on the clock and [atLeast] of them, or [atMost]. */
    private fun timed(classifier: Classifier, atLeast: Int, atMost: Int, stop: Long): LongArray {
        val samples = LongSeries()
        while (samples.size < atMost) {
            samples.add(classifier.run())
            if (samples.size >= atLeast && clock.nanos() >= stop) break
        }
        return samples.values()
    }

    private fun measurement(lane: Lane, session: Session, id: String, states: List<State>, probe: Probe): Measurement {
        val artifact = lane.subject.artifact
        return Measurement(
            artifactSha256 = artifact.sha256,
            artifactName = artifact.name,
            model = artifact.card.model,
            recipe = artifact.card.recipe,
            sizeBytes = artifact.sizeBytes,
            device = machine.name,
            protocol = session.protocol,
            threads = session.threads,
            latencyNs = lane.samples.values(),
            loadNs = lane.loadNs,
            firstNs = lane.firstNs,
            delegation = lane.classifier.delegation,
            fingerprint = machine.fingerprint(runtime.name, runtime.version),
            startedUtc = lane.startedUtc,
            energy = lane.account.energy(),
            energyReason = lane.account.reason,
            session = id,
            slices = lane.slices,
            inputs = session.inputs,
            warmup = lane.warmup,
            memory = Memory(null, null, "not known: the app does not read the file's graph"),
            states = states,
            probe = probe,
        )
    }

    private fun judged(lane: Lane, measurement: Measurement): Measurement {
        val verdict = Validity.judge(measurement)
        val fallback = lane.fallback?.let { listOf("the CPU stood in for the GPU: $it") }.orEmpty()
        return measurement.copy(verdict = verdict.copy(notes = verdict.notes + fallback))
    }

    private fun checkCancelled() {
        if (cancelled) throw CancellationException("the benchmark was stopped")
    }

    /** To the second, in ISO 8601, as every record has it. */
    private fun utcNow(): String {
        val format = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'+00:00'", Locale.ROOT)
        format.timeZone = TimeZone.getTimeZone("UTC")
        return format.format(Date(clock.wallNanos() / 1_000_000))
    }

    private fun nanos(seconds: Double): Long = (seconds * 1e9).toLong()

    private companion object {
        const val RANDOM = "random"
        const val GOLDEN = "golden"
        const val SETTLED = 0.02 // a warm-up whose last stretch changed by less is over, whatever chance says
        const val SETTLED_P = 0.05 // and so is one whose change may well be chance
        const val BARE_PART = 4 // beside a meter, a quarter of the time goes to the same inferences without it
        const val BARE_MOST = 10_000
    }
}
