package dev.edgekit.demo.ui

import dev.edgekit.demo.inference.Orientation
import dev.edgekit.demo.inference.Recognizer
import dev.edgekit.demo.inference.RollingMedian
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.inference.YuvFrame
import dev.edgekit.demo.record.Refusal
import java.util.concurrent.Executor
import java.util.concurrent.atomic.AtomicBoolean

/** What stands between the user and a live picture. */
enum class Obstacle { ASK_FIRST, REFUSED, REFUSED_FOR_GOOD, HELD_BY_ANOTHER_APP, NONE_IN_PHONE, FAILED }

/** One line of an answer. */
data class Guess(val label: String, val probability: Float)

/** Nanoseconds of the three stages: medians of the last pictures in live mode, else of the one picture. */
data class Stages(val preprocessNs: Double, val inferenceNs: Double, val postprocessNs: Double)

/** All that the screen shows. */
data class ClassifyState(
    val models: List<String> = emptyList(),
    val chosen: Int = 0,
    val live: Boolean = true,
    val obstacle: Obstacle? = null,
    val guesses: List<Guess> = emptyList(),
    val stages: Stages? = null,
    val dropped: Long = 0,
    val error: String? = null,
)

/**
 * Classifies what the camera or the gallery gives, with the model that was chosen.
 *
 * Called on the main thread, but for [frame], which runs on [worker]: there alone the recognizer lives.
 */
class ClassifyPresenter(
    private val library: Library,
    private val runtime: Runtime,
    private val worker: Executor,
    private val main: Executor,
    private val threads: Int = 2,
    private val nanoTime: () -> Long = System::nanoTime,
) {
    /** Drops frames while one is worked on. */
    val gate = FrameGate(worker)

    var state = ClassifyState()
        private set

    private var show: ((ClassifyState) -> Unit)? = null
    private var wanted: String? = null

    private val onLibrary = { followLibrary() }

    // The worker's own.
    private var recognizer: Recognizer? = null
    private var held: Picture? = null
    private val preprocess = RollingMedian(WINDOW)
    private val inference = RollingMedian(WINDOW)
    private val postprocess = RollingMedian(WINDOW)
    private var shownNs = 0L

    private val waiting = AtomicBoolean()

    /** Shows the state to [view] now and after each change, until [detach]. */
    fun attach(view: (ClassifyState) -> Unit) {
        show = view
        library.listen(onLibrary)
        followLibrary()
    }

    /** Nobody looks any more: the model's memory is given back. */
    fun detach() {
        show = null
        library.forget(onLibrary)
        wanted = null
        worker.execute { close() }
    }

    /** The user takes the model with this number. */
    fun choose(number: Int) {
        if (number !in state.models.indices) return
        update(state.copy(chosen = number))
        load()
    }

    /** The camera cannot be shown, and why; null once it can. */
    fun obstacle(obstacle: Obstacle?) = update(state.copy(obstacle = obstacle))

    /** From the gallery back to the camera. */
    fun goLive() {
        update(state.copy(live = true, guesses = emptyList(), stages = null, error = null))
        worker.execute {
            held = null
            forgetTimes()
        }
    }

    /** Classifies one picture; [read] is called on the worker and throws [Refusal] for what is no picture. */
    fun picture(read: () -> Picture) {
        update(state.copy(live = false, guesses = emptyList(), stages = null, error = null))
        worker.execute {
            guarded("this picture") {
                held = null
                held = read()
                classifyHeld()
            }
        }
    }

    /** Gives the picture that is looked at, if there is one, to a screen that is new; [use] runs on the worker. */
    fun revisit(use: (Picture) -> Unit) = worker.execute { held?.let(use) }

    private fun classifyHeld() {
        val picture = held ?: return
        val model = recognizer ?: return
        model.argb(picture.pixels, picture.width, picture.height, picture.orientation)
        val stages = Stages(
            model.preprocessNs.toDouble(),
            model.inferenceNs.toDouble(),
            model.postprocessNs.toDouble(),
        )
        answer(model, stages, live = false)
    }

    /** Classifies a camera's frame, on the worker. */
    fun frame(frame: YuvFrame, orientation: Orientation) {
        val model = recognizer ?: return
        model.yuv(frame, orientation)
        preprocess.add(model.preprocessNs)
        inference.add(model.inferenceNs)
        postprocess.add(model.postprocessNs)
        val now = nanoTime()
        if (now - shownNs < REFRESH_NS || !waiting.compareAndSet(false, true)) return
        shownNs = now
        answer(model, medians(), live = true)
    }

    private fun medians() =
        Stages(preprocess.median() ?: 0.0, inference.median() ?: 0.0, postprocess.median() ?: 0.0)

    private fun answer(model: Recognizer, stages: Stages, live: Boolean) {
        val guesses = model.ranking.classes.indices.map {
            Guess(model.artifact.label(model.ranking.classes[it]), model.ranking.probabilities[it])
        }
        main.execute {
            waiting.set(false)
            if (state.live == live) update(state.copy(guesses = guesses, stages = stages, dropped = gate.dropped))
        }
    }

    private fun fail(reason: String) = main.execute { update(state.copy(error = reason)) }

    private fun followLibrary() {
        val names = library.ready.map { it.name }
        val kept = names.indexOf(state.models.getOrNull(state.chosen))
        update(state.copy(models = names, chosen = maxOf(kept, 0)))
        load()
    }

    private fun load() {
        val model = library.ready.getOrNull(state.chosen) ?: return
        if (model.artifact.sha256 == wanted) return
        wanted = model.artifact.sha256
        worker.execute {
            close()
            guarded(model.name) {
                val opened = recognizer(runtime.open(model.content, threads), model.artifact)
                recognizer = opened
                opened.checkGolden() // its verdict is known; the first inference takes longer than all that are shown
                classifyHeld()
            }
        }
    }

    /** What goes wrong on the worker is shown, not thrown. */
    private fun guarded(what: String, work: () -> Unit) {
        try {
            work()
        } catch (refusal: Refusal) {
            fail(refusal.message.orEmpty())
        } catch (_: OutOfMemoryError) {
            fail("the phone has not enough free memory for $what; close other apps")
        } catch (error: RuntimeException) {
            fail("the runtime failed with $what: $error; take another model")
        }
    }

    private fun close() {
        recognizer?.close()
        recognizer = null
        forgetTimes()
    }

    private fun forgetTimes() = listOf(preprocess, inference, postprocess).forEach { it.clear() }

    private fun update(next: ClassifyState) {
        state = next
        show?.invoke(next)
    }

    private companion object {
        const val WINDOW = 31
        const val REFRESH_NS = 120_000_000L
    }
}
