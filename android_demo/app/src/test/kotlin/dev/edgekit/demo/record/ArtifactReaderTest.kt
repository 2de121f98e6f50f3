package dev.edgekit.demo.record

import dev.edgekit.demo.Expected
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.ByteArrayOutputStream
import java.nio.ByteBuffer
import java.util.Random
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream

class ArtifactReaderTest {
    @Test
    fun realFilesAreReadAsPythonReadsThem() {
        for (answer in Expected.objects("answers")) {
            val artifact = Expected.artifact(answer.text("model"))
            val card = answer.child("card")
            val input = card.child("input")
            assertEquals(answer.text("sha256"), artifact.sha256)
            assertEquals(answer.texts("labels"), artifact.labels)
            assertEquals(card.text("model"), artifact.card.model)
            assertEquals(card.int("classes"), artifact.card.classes)
            assertEquals(card.child("recipe").text("name"), artifact.card.recipe)
            assertEquals(card.text("output"), artifact.card.output.name.lowercase())
            assertEquals(card.child("weights").text("source"), artifact.card.weightsSource)
            assertEquals(input.int("resize_shorter"), artifact.card.input.resizeShorter)
            assertEquals(input.doubles("mean").map { it.toFloat() }, artifact.card.input.mean)
            assertEquals(16 * 16 * 3, artifact.golden!!.pixels.size)
        }
    }

    @Test
    fun aCardSaysEverything() {
        val artifact = read(file(CARD, labels = "sky\nsea", golden = true))
        val input = InputSpec(4, 6, 8, ChannelOrder.BGR, listOf(1f, 2f, 3f), listOf(4f, 5f, 6f))
        assertEquals(Card("tiny", 2, input, "int8", OutputKind.LOGITS, "random"), artifact.card)
        assertEquals(listOf("sky", "sea", "class 2"), List(3) { artifact.label(it) })
        assertEquals(listOf("net", 2), listOf(artifact.name, artifact.golden!!.output.size))
    }

    @Test
    fun whatIsNoModelIsRefused() {
        refused("is empty", ByteArray(0))
        refused("lacks the mark TFL3", "PK junk that is no model".toByteArray())
        refused("lacks the mark TFL3", ByteArray(7))
    }

    @Test
    fun aModelWithoutACardIsRefused() = refused("has no card", MODEL)

    @Test
    fun cardsThatCannotBeTrustedAreRefused() {
        refused("card has schema 2, this app knows 1; update the app", file(CARD.dropLast(1) + ",\"schema\":2}"))
        refused("no JSON", file(CARD.dropLast(1)))
        refused("the field 'classes' is missing", file(CARD.replace("\"classes\":2,", "")))
        refused("the field 'output' is 'dreams'", file(CARD.replace("logits", "dreams")))
        refused("unknown fields gamma", file(CARD.replace("\"height\":4", "\"height\":4,\"gamma\":2.2")))
        refused("the field 'height' is 0", file(CARD.replace("\"height\":4", "\"height\":0")))
        refused("the field 'mean' has 2 values", file(CARD.replace("[1,2,3]", "[1,2]")))
        refused("3 labels for 2 classes", file(CARD, labels = "a\nb\nc"))
    }

    @Test
    fun aDamagedTailIsRefusedWhateverTheDamage() {
        val whole = file(CARD, labels = "sky\nsea", golden = true)
        val random = Random(3)
        repeat(2000) {
            val damaged = whole.copyOf()
            val at = MODEL.size + random.nextInt(whole.size - MODEL.size)
            damaged[at] = (damaged[at] + 1 + random.nextInt(255)).toByte()
            try { // a name or a date may change unseen; nothing but a refusal may come of it
                read(damaged)
            } catch (error: Refusal) {
                assertTrue(error.message, error.message!!.length > 20)
            }
        }
        for (size in MODEL.size until whole.size) refused("", whole.copyOf(size))
    }

    private fun refused(why: String, content: ByteArray) {
        val refusal = assertThrows(why, Refusal::class.java) { read(content) }
        assertTrue("${refusal.message} does not say: $why", why in refusal.message!!)
    }

    private fun read(content: ByteArray) = ArtifactReader.read("net.tflite", ByteBuffer.wrap(content))

    private fun file(card: String, labels: String? = null, golden: Boolean = false): ByteArray {
        val out = ByteArrayOutputStream()
        out.write(MODEL)
        val zip = ByteArrayOutputStream()
        ZipOutputStream(zip).use { tail ->
            tail.member("edgekit.json", card.toByteArray())
            labels?.let { tail.member("labels.txt", it.toByteArray()) }
            if (golden) tail.member("golden_pixels.bin", ByteArray(768))
            if (golden) tail.member("golden_output.bin", ByteArray(2))
        }
        out.write(zip.toByteArray())
        return out.toByteArray()
    }

    private fun ZipOutputStream.member(name: String, content: ByteArray) {
        putNextEntry(ZipEntry(name))
        write(content)
        closeEntry()
    }

    private companion object {
        val MODEL = byteArrayOf(28, 0, 0, 0, 'T'.code.toByte(), 'F'.code.toByte(), 'L'.code.toByte(), '3'.code.toByte()) + ByteArray(64)
        const val CARD = "{\"model\":\"tiny\",\"family\":\"f\",\"classes\":2,\"input\":{\"height\":4,\"width\":6," +
            "\"resize_shorter\":8,\"channels\":\"BGR\",\"mean\":[1,2,3],\"std\":[4,5,6]},\"recipe\":{\"name\":\"int8\"}," +
            "\"weights\":{\"source\":\"random\"},\"output\":\"logits\"}"
    }
}
