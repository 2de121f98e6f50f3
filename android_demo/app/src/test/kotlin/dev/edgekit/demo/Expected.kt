package dev.edgekit.demo

import dev.edgekit.demo.inference.Orientation
import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.ArtifactReader
import dev.edgekit.demo.record.Json
import dev.edgekit.demo.record.JsonObject
import dev.edgekit.demo.record.asJsonObject
import org.junit.Assert.fail
import org.junit.Assume.assumeTrue
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** What `tests/android/expected.py` wrote: the folder is named by the system property `edgekit.expected`. */
internal object Expected {
    private val folder: File? = System.getProperty("edgekit.expected").orEmpty().takeIf { it.isNotEmpty() }?.let { File(it) }

    /** A file of it; without the folder the test is passed over, or fails where it was asked for. */
    fun file(name: String): File {
        assumeTrue("-Dedgekit.expected names no folder, so there is nothing to compare with", folder != null)
        val file = File(folder, name)
        if (!file.exists()) fail("$file is missing; make it with tests/android/expected.py")
        return file
    }

    /** The objects of the list in a JSON file. */
    fun objects(name: String): List<JsonObject> =
        (Json.parse(file("$name.json").readText(), name) as List<*>).map { it.asJsonObject()!! }

    /** Every model. */
    fun models(): List<File> = file("models").listFiles()!!.sorted()

    fun model(name: String, folder: String = "models"): ByteBuffer = direct(file("$folder/$name.tflite"))

    fun artifact(name: String): Artifact = ArtifactReader.read(name, model(name))

    /** Packed pixels of the picture with this number, as Pillow decoded it. */
    fun image(number: Int): IntArray = packed(file("images/$number.rgb").readBytes())

    fun packed(rgb: ByteArray): IntArray = IntArray(rgb.size / 3) {
        (rgb[3 * it].toInt() and 0xff shl 16) or
            (rgb[3 * it + 1].toInt() and 0xff shl 8) or
            (rgb[3 * it + 2].toInt() and 0xff)
    }
}

/** A whole file where a native runtime can read it. */
internal fun direct(file: File): ByteBuffer {
    val bytes = file.readBytes()
    val buffer = ByteBuffer.allocateDirect(bytes.size).order(ByteOrder.nativeOrder())
    buffer.put(bytes)
    buffer.rewind()
    return buffer
}

/** The noise of `expected.py`, packed. */
internal fun noise(width: Int, height: Int): IntArray = IntArray(width * height) {
    val mixed = (it xor (it ushr 7)) * 0x9e3779b1.toInt()
    mixed ushr 8
}

/** Upright pixels as a camera stores them that was held so: what [orientation] undoes. */
internal fun stored(upright: IntArray, width: Int, height: Int, orientation: Orientation): IntArray {
    val storedWidth = if (orientation.transposed) height else width
    val pixels = IntArray(upright.size)
    for (y in 0 until height) {
        for (x in 0 until width) {
            val across = if (orientation.mirrored) width - 1 - x else x
            val down = if (orientation.flipped) height - 1 - y else y
            val at = if (orientation.transposed) across * storedWidth + down else down * storedWidth + across
            pixels[at] = upright[y * width + x]
        }
    }
    return pixels
}
