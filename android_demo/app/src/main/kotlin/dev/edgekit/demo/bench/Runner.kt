package dev.edgekit.demo.bench

import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.State
import java.nio.ByteBuffer
import java.util.concurrent.CancellationException

/** A model that is to be timed: [content] is the whole file, direct or mapped. */
class Subject(val artifact: Artifact, val content: ByteBuffer, val accelerator: Accelerator = Accelerator.CPU)

/** What the runner tells while it works, on its own thread, between slices and never inside one. */
interface Progress {
    /** [share] of the session is done, 0 to 1; [what] says in a few words what comes next. */
    fun at(share: Double, what: String) {}

    /** A slice of the subject with this number is done. */
    fun slice(subject: Int, latencyNs: LongArray, state: State) {}
}

/** Times models as `edgekit.bench` does, A B A B in slices; blocks the thread that calls it. */
class Runner(
    private val runtime: Runtime,
    private val machine: Machine,
    private val clock: Clock = SystemClocks,
) {
    /**
     * One measurement for each subject, with its verdict.
     *
     * A subject whose delegate fails falls back to the CPU; the record's `delegation` then names the reason.
     *
     * @throws dev.edgekit.demo.record.Refusal for a model that cannot run and a session that this app cannot do.
     * @throws CancellationException after [cancel].
     */
    fun measure(subjects: List<Subject>, session: Session, progress: Progress): List<Measurement> =
        TODO("$runtime $machine $clock $subjects $session $progress")

    /** Ends the session at the next slice, from any thread. */
    fun cancel(): Unit = TODO()
}
