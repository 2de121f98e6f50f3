package dev.edgekit.demo.ui

import java.util.concurrent.Executor
import java.util.concurrent.RejectedExecutionException
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicLong

/**
 * Lets one frame through at a time; those that come while it is worked on are dropped, so what is shown is never old.
 *
 * [offer] may be called from any thread; the work is done by [worker].
 */
class FrameGate(private val worker: Executor) {
    private val busy = AtomicBoolean()
    private val droppedFrames = AtomicLong()

    /** How many frames came at a bad moment. */
    val dropped: Long get() = droppedFrames.get()

    /** Takes the newest frame by [take] and works on it, or drops it; every frame taken is closed. */
    fun <T : AutoCloseable> offer(take: () -> T?, work: (T) -> Unit) {
        val frame = take() ?: return
        if (!busy.compareAndSet(false, true)) {
            droppedFrames.incrementAndGet()
            frame.close()
            return
        }
        try {
            worker.execute { done(frame, work) }
        } catch (_: RejectedExecutionException) {
            busy.set(false)
            frame.close()
        }
    }

    private fun <T : AutoCloseable> done(frame: T, work: (T) -> Unit) {
        try {
            frame.use(work)
        } finally {
            busy.set(false)
        }
    }
}
