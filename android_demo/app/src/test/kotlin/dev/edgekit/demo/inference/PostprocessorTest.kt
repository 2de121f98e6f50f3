package dev.edgekit.demo.inference

import dev.edgekit.demo.Expected
import dev.edgekit.demo.record.OutputKind
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Test
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random

class PostprocessorTest {
    private fun rank(values: ByteArray, kind: OutputKind, scale: Float, zero: Int, top: Int): Ranking {
        val tensor = TensorInfo(listOf(1, values.size), ElementType.INT8, scale, zero)
        return Ranking(top).also { Postprocessor(tensor, kind).rank(ByteBuffer.wrap(values), it) }
    }

    @Test
    fun theBestComeFirstAndEqualOnesByNumber() {
        val random = Random(2)
        repeat(300) {
            val values = ByteArray(1 + random.nextInt(30)) { (random.nextInt(7) - 3).toByte() }
            val top = 1 + random.nextInt(values.size)
            val wanted = values.indices.sortedByDescending { values[it] }.take(top)
            assertEquals(wanted, rank(values, OutputKind.SCORES, 1f, 0, top).classes.toList())
        }
    }

    @Test
    fun logitsBecomeProbabilities() {
        val ranking = rank(byteArrayOf(3, 1, 3), OutputKind.LOGITS, 0.5f, 1, 3)
        val sum = 2 * Math.exp(1.0) + 1
        assertArrayEquals(intArrayOf(0, 2, 1), ranking.classes)
        assertArrayEquals(floatArrayOf((Math.E / sum).toFloat(), (Math.E / sum).toFloat(), (1 / sum).toFloat()), ranking.probabilities, 1e-7f)
        val extreme = rank(byteArrayOf(-128, 127), OutputKind.LOGITS, 100f, 0, 2)
        assertArrayEquals(floatArrayOf(1f, 0f), extreme.probabilities, 0f)
    }

    /** The outputs that Python's runtime gave, ranked as Python ranks them. */
    @Test
    fun rankingsAreThoseOfPython() {
        for (answer in Expected.objects("answers")) {
            val name = answer.text("model")
            val classifier = DesktopRuntime.open(Expected.model(name), 1)
            val tensor = classifier.output
            classifier.close()
            val outputs = Expected.file("$name.outputs").readBytes()
            val postprocessor = Postprocessor(tensor, Expected.artifact(name).card.output)
            val ranking = Ranking(5)
            answer.lists("top5").forEachIndexed { number, top5 ->
                val bytes = outputs.copyOfRange(number * tensor.bytes, (number + 1) * tensor.bytes)
                postprocessor.rank(ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()), ranking)
                val wanted = top5.map { it as List<*> }
                assertEquals(wanted.map { (it[0] as Number).toInt() }, ranking.classes.toList())
                val shares = FloatArray(5) { (wanted[it][1] as Number).toFloat() }
                assertArrayEquals(shares, ranking.probabilities, 1e-6f)
            }
        }
    }

    @Test
    fun theRollingMedianForgets() {
        val median = RollingMedian(3)
        assertNull(median.median())
        val seen = listOf(5L, 1L, 9L, 2L, 2L).map { median.add(it).let { median.median() } }
        assertEquals(listOf(5.0, 3.0, 5.0, 2.0, 2.0), seen)
        median.clear()
        assertNull(median.median())
    }
}
