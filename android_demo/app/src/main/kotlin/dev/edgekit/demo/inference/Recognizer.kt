package dev.edgekit.demo.inference

import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.Golden
import dev.edgekit.demo.record.Refusal
import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Locale
import kotlin.math.abs
import kotlin.math.max

/** What the golden vector gave here, as `edgekit.golden.Verdict`; [detail] is for people. */
data class GoldenResult(val passed: Boolean, val exact: Boolean, val detail: String)

/**
 * One model from picture to classes, with the three stages timed; used by one thread at a time, closed with its
 * classifier.
 *
 * @throws Refusal where card and model do not fit each other.
 */
class Recognizer(
    val artifact: Artifact,
    val classifier: Classifier,
    top: Int = 3,
    private val nanoTime: () -> Long = System::nanoTime,
) : Closeable {
    private val preprocessor = Preprocessor(artifact.card.input, classifier.input)
    private val postprocessor = Postprocessor(classifier.output, artifact.card.output)

    /** The classes of the last picture; filled anew for each. */
    val ranking = Ranking(minOf(top, artifact.card.classes))

    /** Nanoseconds of the last picture. */
    var preprocessNs = 0L
        private set
    var inferenceNs = 0L
        private set
    var postprocessNs = 0L
        private set

    init {
        val outputs = classifier.output.elements
        if (outputs != artifact.card.classes) {
            val found = "the model has $outputs outputs, its card ${artifact.card.classes} classes"
            throw Refusal("${artifact.name}: $found; export the model again")
        }
    }

    /** Classifies ARGB pixels, row by row. */
    fun argb(pixels: IntArray, width: Int, height: Int, orientation: Orientation) {
        val start = nanoTime()
        preprocessor.argb(pixels, width, height, orientation, classifier.inputBuffer)
        answer(start)
    }

    /** Classifies a camera's frame, allocating nothing. */
    fun yuv(frame: YuvFrame, orientation: Orientation) {
        val start = nanoTime()
        preprocessor.yuv(frame, orientation, classifier.inputBuffer)
        answer(start)
    }

    /** The last picture as the model saw it, packed as 0xRRGGBB, row by row; it changes with the next one. */
    fun seen(): IntArray = preprocessor.seen()

    private fun answer(start: Long) {
        val prepared = nanoTime()
        inferenceNs = classifier.run()
        val answered = nanoTime()
        postprocessor.rank(classifier.outputBuffer, ranking)
        preprocessNs = prepared - start
        postprocessNs = nanoTime() - answered
    }

    /**
     * Runs the file's known input and compares; null where the file has none.
     *
     * Whole numbers may differ by one step, floats by 0.1 % of the largest value.
     *
     * @throws Refusal where the known output has another size than the model's.
     */
    fun checkGolden(): GoldenResult? {
        val golden = artifact.golden ?: return null
        if (golden.output.size != classifier.output.bytes) {
            throw Refusal("${artifact.name}: its golden output has another size than the model's; export it again")
        }
        preprocessor.miniature(golden.pixels, classifier.inputBuffer)
        classifier.run()
        return compare(golden)
    }

    private fun compare(golden: Golden): GoldenResult {
        val type = classifier.output.type
        val expected = ByteBuffer.wrap(golden.output).order(ByteOrder.LITTLE_ENDIAN)
        var changed = 0
        var largest = 0.0
        var greatest = 0.0
        for (number in 0 until classifier.output.elements) {
            val wanted = raw(expected, number, type).toDouble()
            val difference = abs(raw(classifier.outputBuffer, number, type) - wanted)
            if (difference != 0.0) changed++
            // NaN is no answer; max would pass it on and every comparison with it is false
            largest = max(largest, difference)
            greatest = max(greatest, abs(wanted))
        }
        if (changed == 0) return GoldenResult(passed = true, exact = true, detail = "bit-exact")
        if (type == ElementType.FLOAT32) {
            val detail = String.format(Locale.ROOT, "largest difference %.2g", largest)
            return GoldenResult(largest <= FLOAT_TOLERANCE * greatest, exact = false, detail = detail)
        }
        val detail = "$changed of ${classifier.output.elements} values differ, by ${largest.toInt()} steps at most"
        return GoldenResult(largest <= 1, exact = false, detail = detail)
    }

    override fun close() = classifier.close()

    private companion object {
        const val FLOAT_TOLERANCE = 1e-3
    }
}
