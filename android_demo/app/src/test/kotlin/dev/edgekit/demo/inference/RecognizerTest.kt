package dev.edgekit.demo.inference

import dev.edgekit.demo.Expected
import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.Card
import dev.edgekit.demo.record.Delegation
import dev.edgekit.demo.record.Golden
import dev.edgekit.demo.record.InputSpec
import dev.edgekit.demo.record.OutputKind
import dev.edgekit.demo.record.Refusal
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import java.nio.ByteBuffer
import java.nio.ByteOrder

class RecognizerTest {
    /** Answers what a test tells it to. */
    private class Scripted(type: ElementType, values: List<Float>) : Classifier {
        override val input = TensorInfo(listOf(1, 2, 2, 3), ElementType.UINT8, 1f, 0)
        override val output = TensorInfo(listOf(1, values.size), type, 1f, 0)
        override val inputBuffer: ByteBuffer = ByteBuffer.allocateDirect(12)
        override val outputBuffer: ByteBuffer = bytes(type, values)
        override val delegation = Delegation("none", 0, 0)
        override fun run(): Long = 7_000_000
        override fun close() = Unit
    }

    private fun artifact(classes: Int, golden: Golden?) = Artifact(
        name = "net",
        sha256 = "00",
        sizeBytes = 1,
        card = Card("net", classes, InputSpec(2, 2, 2), "int8", OutputKind.PROBABILITIES, "random"),
        labels = emptyList(),
        golden = golden,
    )

    private fun golden(type: ElementType, expected: List<Float>, found: List<Float>): GoldenResult {
        val known = Golden(ByteArray(768), bytes(type, expected).array())
        return Recognizer(artifact(found.size, known), Scripted(type, found)).checkGolden()!!
    }

    @Test
    fun wholeNumbersMayDifferByOneStep() {
        assertEquals(GoldenResult(true, true, "bit-exact"), golden(ElementType.INT8, listOf(1f, 2f), listOf(1f, 2f)))
        val step = GoldenResult(true, false, "1 of 2 values differ, by 1 steps at most")
        assertEquals(step, golden(ElementType.INT8, listOf(1f, 2f), listOf(1f, 3f)))
        assertFalse(golden(ElementType.INT8, listOf(1f, 2f), listOf(1f, 4f)).passed)
    }

    @Test
    fun floatsMayDifferByAThousandth() {
        assertTrue(golden(ElementType.FLOAT32, listOf(2f, 1f), listOf(2f, 1.0019f)).passed)
        assertFalse(golden(ElementType.FLOAT32, listOf(2f, 1f), listOf(2f, 1.0021f)).passed)
        assertFalse(golden(ElementType.FLOAT32, listOf(2f, 1f), listOf(2f, Float.NaN)).passed)
    }

    @Test
    fun aKnownOutputOfAnotherSizeIsRefused() {
        val known = Golden(ByteArray(768), ByteArray(3))
        val recognizer = Recognizer(artifact(2, known), Scripted(ElementType.INT8, listOf(1f, 2f)))
        assertThrows(Refusal::class.java) { recognizer.checkGolden() }
    }

    @Test
    fun aCardOfAnotherModelIsRefused() {
        val refusal = assertThrows(Refusal::class.java) { Recognizer(artifact(3, null), Scripted(ElementType.INT8, listOf(1f, 2f))) }
        assertEquals("net: the model has 2 outputs, its card 3 classes; export the model again", refusal.message)
    }

    @Test
    fun stagesAreTimedApart() {
        var now = 0L
        val recognizer = Recognizer(artifact(2, null), Scripted(ElementType.INT8, listOf(1f, 2f)), nanoTime = { now += 1000; now })
        recognizer.argb(IntArray(4), 2, 2, Orientation.UPRIGHT)
        assertEquals(listOf(1000L, 7_000_000L, 1000L), listOf(recognizer.preprocessNs, recognizer.inferenceNs, recognizer.postprocessNs))
        assertEquals(listOf(1, 0), recognizer.ranking.classes.toList())
    }

    @Test
    fun brokenModelsAreRefusedByTheRuntime() {
        val whole = Expected.model(Expected.objects("answers").first().text("model"))
        val junk = ByteBuffer.allocateDirect(1000)
        assertThrows(Refusal::class.java) { DesktopRuntime.open(junk, 1) }
        DesktopRuntime.open(whole, 1).close()
    }
}

private fun bytes(type: ElementType, values: List<Float>): ByteBuffer {
    val buffer = ByteBuffer.allocate(values.size * type.bytes).order(ByteOrder.LITTLE_ENDIAN)
    for (value in values) if (type == ElementType.FLOAT32) buffer.putFloat(value) else buffer.put(value.toInt().toByte())
    return buffer
}
