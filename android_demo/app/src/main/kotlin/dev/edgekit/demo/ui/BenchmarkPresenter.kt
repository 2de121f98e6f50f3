package dev.edgekit.demo.ui

import dev.edgekit.demo.bench.Machine
import dev.edgekit.demo.bench.Progress
import dev.edgekit.demo.bench.Protocols
import dev.edgekit.demo.bench.Runner
import dev.edgekit.demo.bench.Statistics
import dev.edgekit.demo.bench.Subject
import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Protocol
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.ResultsFile
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.State
import java.io.File
import java.util.concurrent.CancellationException
import java.util.concurrent.Executor

/** What measures: [Runner] in the app. */
interface Bench {
    /** As [Runner.measure]. */
    fun measure(subjects: List<Subject>, session: Session, progress: Progress): List<Measurement>

    /** As [Runner.cancel]. */
    fun cancel()

    companion object {
        fun of(runner: Runner): Bench = object : Bench {
            override fun measure(subjects: List<Subject>, session: Session, progress: Progress) =
                runner.measure(subjects, session, progress)

            override fun cancel() = runner.cancel()
        }
    }
}

/** A model that may take part. */
data class Choice(val name: String, val chosen: Boolean)

/** How far a run is. */
data class Running(val share: Double, val what: String)

/** All that the screen shows. */
data class BenchmarkState(
    val choices: List<Choice> = emptyList(),
    val threadChoices: List<Int> = listOf(1),
    val threads: Int = 1,
    val accelerator: Accelerator = Accelerator.CPU,
    val protocol: Protocol = Protocols.QUICK,
    val running: Running? = null,
    val series: Series? = null,
    val phone: State? = null,
    val comparison: Comparison? = null,
    val reasons: List<String> = emptyList(),
    val saved: Int = 0,
    val error: String? = null,
) {
    /** About how long a run takes, per model, in seconds. */
    val secondsPerModel: Double get() = protocol.warmupS + protocol.minSeconds

    val canStart: Boolean get() = running == null && choices.any { it.chosen }
}

/**
 * Benchmarks the chosen models by turns and keeps the results; outlives the screen, so that turning the phone does not
 * end a run. Called on the main thread; measures on [background].
 */
class BenchmarkPresenter(
    private val library: Library,
    private val bench: () -> Bench,
    private val machine: Machine,
    private val results: File,
    private val background: Executor,
    private val main: Executor,
    cores: Int,
) {
    var state = BenchmarkState(threadChoices = listOf(1, 2, 4, 8).filter { it <= maxOf(1, cores) })
        private set

    private var show: ((BenchmarkState) -> Unit)? = null
    private var left = emptySet<String>()
    private var running: Bench? = null

    init {
        library.listen { followLibrary() }
        followLibrary()
        background.execute { countSaved() }
    }

    /** Shows the state to [view] now and after each change, until [detach]. */
    fun attach(view: (BenchmarkState) -> Unit) {
        show = view
        view(state)
        if (state.running == null) look()
    }

    fun detach() {
        show = null
    }

    /** Takes a model in or leaves it out. */
    fun choose(name: String, chosen: Boolean) {
        left = if (chosen) left - name else left + name
        followLibrary()
    }

    fun threads(count: Int) = update(state.copy(threads = count))

    fun accelerator(wanted: Accelerator) = update(state.copy(accelerator = wanted))

    fun protocol(wanted: Protocol) = update(state.copy(protocol = wanted))

    /** Measures, unless it does already or nothing is chosen. */
    fun start() {
        if (!state.canStart) return
        val names = state.choices.filter { it.chosen }.map { it.name }
        val subjects = library.ready.filter { it.name in names }
            .map { Subject(it.artifact, it.content, state.accelerator) }
        val session = Session(state.protocol, state.threads, meter = "auto")
        val series = Series(subjects.map { it.artifact.name })
        val measuring = bench()
        running = measuring
        update(
            state.copy(
                running = Running(0.0, ""),
                series = series,
                comparison = null,
                reasons = emptyList(),
                error = null,
            ),
        )
        background.execute { measure(measuring, subjects, session) }
    }

    /** Ends a run; nothing of it is kept. */
    fun cancel() {
        running?.cancel()
    }

    /** Asks the phone for its heat and its battery. */
    fun look() = background.execute {
        val phone = machine.state(System.nanoTime())
        main.execute { if (state.running == null) update(state.copy(phone = phone)) }
    }

    /** Deletes what was measured so far. */
    fun forget() {
        results.delete()
        update(state.copy(saved = 0))
    }

    private fun measure(measuring: Bench, subjects: List<Subject>, session: Session) {
        val outcome: (BenchmarkState) -> BenchmarkState = try {
            val measured = measuring.measure(subjects, session, Watching())
            measured.forEach { ResultsFile.append(results, it) }
            ({ finished(it, measured) })
        } catch (_: CancellationException) {
            ({ it })
        } catch (refusal: Refusal) {
            ({ it.copy(error = refusal.message) })
        } catch (_: OutOfMemoryError) {
            ({ it.copy(error = "the phone has not enough free memory; close other apps and choose fewer models") })
        } catch (error: RuntimeException) {
            ({ it.copy(error = "the runtime failed: $error; choose another model") })
        }
        main.execute {
            running = null
            update(outcome(state).copy(running = null))
        }
    }

    private fun finished(before: BenchmarkState, measured: List<Measurement>) = before.copy(
        comparison = Comparison.of(measured),
        reasons = measured.mapNotNull { it.verdict }.flatMap { it.reasons + it.notes }.distinct(),
        saved = before.saved + measured.size,
    )

    private inner class Watching : Progress {
        override fun at(share: Double, what: String) = main.execute {
            if (state.running != null) update(state.copy(running = Running(share, what)))
        }

        override fun slice(subject: Int, latencyNs: LongArray, state: State) {
            val median = Statistics.median(latencyNs)
            main.execute { point(subject, state, median) }
        }
    }

    private fun point(subject: Int, phone: State, median: Double) {
        state.series?.add(subject, phone.atS, median)
        update(state.copy(phone = phone))
    }

    private fun countSaved() {
        val count = if (results.exists()) ResultsFile.read(results).size else 0
        main.execute { update(state.copy(saved = count)) }
    }

    private fun followLibrary() =
        update(state.copy(choices = library.ready.map { Choice(it.name, it.name !in left) }))

    private fun update(next: BenchmarkState) {
        state = next
        show?.invoke(next)
    }
}
