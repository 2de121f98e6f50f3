package dev.edgekit.demo.inference

import dev.edgekit.demo.record.Artifact
import java.io.Closeable

/** What the golden vector gave here: as `edgekit.golden.Verdict`. [detail] is for people. */
data class GoldenResult(val passed: Boolean, val exact: Boolean, val detail: String)

/**
 * One model from picture to labels, with the three stages timed; used by one thread at a time, closed with its
 * classifier.
 *
 * @throws dev.edgekit.demo.record.Refusal where card and model do not fit each other.
 */
class Recognizer(
    val artifact: Artifact,
    private val classifier: Classifier,
    top: Int = 3,
    private val nanoTime: () -> Long = System::nanoTime,
) : Closeable {
    /** The classes of the last picture; filled anew for each. */
    val ranking = Ranking(minOf(top, artifact.card.classes))

    /** Nanoseconds of the last picture. */
    var preprocessNs = 0L
        private set
    var inferenceNs = 0L
        private set
    var postprocessNs = 0L
        private set

    /** Classifies ARGB pixels, row by row. */
    fun argb(pixels: IntArray, width: Int, height: Int, orientation: Orientation): Unit =
        TODO("$pixels $width $height $orientation $nanoTime")

    /** Classifies a camera's frame, allocating nothing. */
    fun yuv(frame: YuvFrame, orientation: Orientation): Unit = TODO("$frame $orientation")

    /** Runs the file's known input and compares; null where the file has none. */
    fun checkGolden(): GoldenResult? = TODO()

    override fun close() = classifier.close()
}
