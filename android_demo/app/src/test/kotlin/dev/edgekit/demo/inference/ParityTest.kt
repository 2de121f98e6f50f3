package dev.edgekit.demo.inference

import dev.edgekit.demo.Expected
import dev.edgekit.demo.record.JsonObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.ByteArrayOutputStream
import java.io.File
import java.nio.ByteBuffer
import javax.imageio.ImageIO
import kotlin.math.abs
import kotlin.math.max

/** The same files and pictures here and in Python: crops, inputs, outputs and the classes that follow from them. */
class ParityTest {
    @Test
    fun outputsOfTheSamePixelsAreThoseOfPython() = forEachModel { case, recognizer ->
        val crops = Chunks("${case.name}.crops", case.spec.width * case.spec.height * 3)
        val inputs = Chunks("${case.name}.inputs", recognizer.classifier.input.bytes)
        val outputs = Chunks("${case.name}.outputs", recognizer.classifier.output.bytes)
        val found = Differences()
        val best = Agreement()
        forEachImage { number, width, height, _ ->
            recognizer.argb(Expected.image(number), width, height, Orientation.UPRIGHT)
            assertTrue("crop $number", Expected.packed(crops.next()).contentEquals(recognizer.seen()))
            assertTrue("input $number", inputs.next().contentEquals(bytes(recognizer.classifier.inputBuffer)))
            found.add(recognizer.classifier, ByteBuffer.wrap(outputs.next()))
            best.add(case.top5(number), recognizer.ranking)
        }
        println("${case.name}: decoded by Pillow: $found; $best")
        best.check()
    }

    /** MEAN rounds otherwise in the LiteRT that Python has; every other int8 kernel gives the same bits. */
    @Test
    fun integersAreTheSameToTheLastBitUpToTheMean() {
        for (prefix in Expected.objects("prefixes")) {
            val name = prefix.text("prefix")
            DesktopRuntime.open(Expected.model(name, "prefixes"), threads = 1).use { classifier ->
                val inputs = Chunks("${prefix.text("model")}.inputs", classifier.input.bytes)
                val outputs = Chunks("prefixes/$name.outputs", classifier.output.bytes)
                repeat(Expected.objects("images").size) {
                    classifier.inputBuffer.clear()
                    classifier.inputBuffer.put(inputs.next())
                    classifier.run()
                    assertTrue("$name, picture $it", outputs.next().contentEquals(bytes(classifier.outputBuffer)))
                }
                println("$name: every value the same, after ${prefix.int("operators")} operators of ${prefix.int("of")}")
            }
        }
    }

    @Test
    fun picturesDecodedByTheJvmGiveTheSameClasses() = forEachModel("int8_fast") { case, recognizer ->
        val best = Agreement()
        val pixels = Differences()
        forEachImage { number, width, height, path ->
            val argb = decoded(File(path))
            pixels.addPixels(argb, Expected.image(number))
            recognizer.argb(argb, width, height, Orientation.UPRIGHT)
            best.add(case.top5(number), recognizer.ranking)
        }
        println("${case.name}: decoded by javax.imageio: $pixels; $best")
        pixels.checkNone()
        best.check()
    }

    /** Grey pictures by their samples: getRGB takes them for linear light and brightens them. */
    private fun decoded(file: File): IntArray {
        val picture = ImageIO.read(withoutProfile(file.readBytes()).inputStream())
        if (picture.raster.numBands > 1) return picture.getRGB(0, 0, picture.width, picture.height, null, 0, picture.width)
        val grey = picture.raster.getSamples(0, 0, picture.width, picture.height, 0, null as IntArray?)
        return IntArray(grey.size) { grey[it] * 0x10101 }
    }

    /** The JPEG without its APP2 segments: javax turns pictures by the colour profile there, Pillow leaves them alone. */
    private fun withoutProfile(jpeg: ByteArray): ByteArray {
        val kept = ByteArrayOutputStream()
        kept.write(jpeg, 0, 2)
        var at = 2
        while (jpeg[at + 1] != START_OF_SCAN) {
            val size = 2 + (jpeg[at + 2].toInt() and 255 shl 8) + (jpeg[at + 3].toInt() and 255)
            if (jpeg[at + 1] != APP2) kept.write(jpeg, at, size)
            at += size
        }
        kept.write(jpeg, at, jpeg.size - at)
        return kept.toByteArray()
    }

    @Test
    fun goldenVectorsPassHere() = forEachModel { case, recognizer ->
        val result = recognizer.checkGolden()!!
        println("${case.name}: golden output ${result.detail}")
        assertTrue(result.detail, result.passed)
    }

    private companion object {
        const val START_OF_SCAN = 0xda.toByte()
        const val APP2 = 0xe2.toByte()
    }

    private class Case(fields: JsonObject) {
        val name = fields.text("model")
        val spec = Expected.artifact(name).card.input
        private val top5 = fields.lists("top5")

        /** Class numbers and probabilities, best first. */
        fun top5(number: Int): List<Pair<Int, Double>> =
            top5[number].map { it as List<*> }.map { (it[0] as Number).toInt() to (it[1] as Number).toDouble() }
    }

    private fun forEachModel(recipe: String = "", check: (Case, Recognizer) -> Unit) {
        for (case in Expected.objects("answers").map { Case(it) }.filter { it.name.endsWith(recipe) }) {
            val classifier = DesktopRuntime.open(Expected.model(case.name), threads = 1)
            Recognizer(Expected.artifact(case.name), classifier, top = 5).use { check(case, it) }
        }
    }

    private fun forEachImage(work: (Int, Int, Int, String) -> Unit) {
        Expected.objects("images").forEachIndexed { number, image ->
            work(number, image.int("width"), image.int("height"), image.text("path"))
        }
    }

    private fun bytes(buffer: ByteBuffer): ByteArray {
        val view = buffer.duplicate()
        view.rewind()
        return ByteArray(view.remaining()).also { view.get(it) }
    }
}

/** A file that holds one array after another. */
private class Chunks(name: String, private val size: Int) {
    private val stream = Expected.file(name).inputStream().buffered()

    fun next(): ByteArray = ByteArray(size).also { assertEquals(size, stream.read(it)) }
}

/** How many values differ, and by how much. */
private class Differences {
    private var values = 0L
    private var differing = 0L
    private var largest = 0.0

    fun add(classifier: Classifier, expected: ByteBuffer) {
        expected.order(java.nio.ByteOrder.nativeOrder())
        for (number in 0 until classifier.output.elements) {
            val wanted = raw(expected, number, classifier.output.type)
            add(raw(classifier.outputBuffer, number, classifier.output.type).toDouble(), wanted.toDouble())
        }
    }

    fun addPixels(found: IntArray, wanted: IntArray) {
        for (position in wanted.indices) {
            for (shift in intArrayOf(0, 8, 16)) {
                add((found[position] ushr shift and 255).toDouble(), (wanted[position] ushr shift and 255).toDouble())
            }
        }
    }

    private fun add(found: Double, wanted: Double) {
        values++
        if (found != wanted) differing++
        largest = max(largest, abs(found - wanted))
    }

    fun checkNone() = assertEquals("$this", 0L, differing)

    override fun toString() = "$differing of $values values differ, by $largest at most"
}

/** On how many pictures the same classes come first. */
private class Agreement {
    private var pictures = 0
    private var first = 0
    private var five = 0

    fun add(wanted: List<Pair<Int, Double>>, found: Ranking) {
        pictures++
        if (found.classes[0] == wanted[0].first) first++
        if (found.classes.toSet() == wanted.map { it.first }.toSet()) five++
    }

    fun check() = assertTrue("$this", first >= 0.99 * pictures)

    override fun toString() = "the same class first on $first of $pictures, the same five on $five"
}
