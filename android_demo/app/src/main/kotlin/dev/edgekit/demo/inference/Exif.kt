package dev.edgekit.demo.inference

import dev.edgekit.demo.record.seek
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The orientation tag of a JPEG file.
 *
 * The places: JPEG segments (ITU-T T.81, B.1.1), of them APP1 with "Exif" (CIPA DC-008, 4.5.4), in it a TIFF file whose
 * first directory has tag 0x0112.
 */
internal object Exif {
    private const val START_OF_IMAGE = 0xffd8
    private const val START_OF_SCAN = 0xda
    private const val APP1 = 0xe1
    private const val EXIF = 0x45786966 // "Exif", and two zeros after it
    private const val LITTLE_ENDIAN = 0x4949
    private const val TIFF = 42
    private const val ENTRY_BYTES = 12
    private const val ORIENTATION = 0x0112
    private const val SHORT = 3

    /** 1 to 8; null where there is none, or the file is no JPEG or damaged. */
    fun orientation(content: ByteArray): Int? = try {
        segment(ByteBuffer.wrap(content))?.let { tag(it) }
    } catch (_: IndexOutOfBoundsException) {
        null
    } catch (_: IllegalArgumentException) { // of Buffer.position
        null
    }

    /** The TIFF file in the first segment that has one. */
    private fun segment(file: ByteBuffer): ByteBuffer? {
        if (short(file, 0) != START_OF_IMAGE) return null
        var at = 2
        while (file.get(at).toInt() == -1 && short(file, at) and 0xff != START_OF_SCAN) {
            val size = short(file, at + 2)
            if (short(file, at) and 0xff == APP1 && file.getInt(at + 4) == EXIF) {
                file.seek(at + 10)
                return file.slice()
            }
            at += 2 + size
        }
        return null
    }

    private fun tag(tiff: ByteBuffer): Int? {
        if (short(tiff, 0) == LITTLE_ENDIAN) tiff.order(ByteOrder.LITTLE_ENDIAN)
        if (short(tiff, 2) != TIFF) return null
        val directory = tiff.getInt(4)
        for (number in 0 until short(tiff, directory)) {
            val entry = directory + 2 + number * ENTRY_BYTES
            if (short(tiff, entry) == ORIENTATION && short(tiff, entry + 2) == SHORT) return short(tiff, entry + 8)
        }
        return null
    }

    private fun short(bytes: ByteBuffer, position: Int): Int = bytes.getShort(position).toInt() and 0xffff
}
