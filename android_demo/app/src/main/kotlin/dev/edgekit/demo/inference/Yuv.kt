package dev.edgekit.demo.inference

import dev.edgekit.demo.record.seek
import java.nio.ByteBuffer

/**
 * Planes of an `android.media.Image` of format YUV_420_888, full range BT.601 as cameras give it.
 *
 * One of these is kept and its fields are set anew for each frame, so that a frame allocates nothing. The positions of
 * the buffers are moved.
 */
class YuvFrame {
    var width = 0
    var height = 0
    var y: ByteBuffer? = null
    var u: ByteBuffer? = null
    var v: ByteBuffer? = null
    var yRowStride = 0
    var chromaRowStride = 0
    var chromaPixelStride = 0
}

/** A part of a frame as packed pixels; keeps its scratch memory from frame to frame. */
internal class YuvReader {
    private var lumas = ByteArray(0)
    private var blues = ByteArray(0)
    private var reds = ByteArray(0)

    /** Pixels left until right of lines top until bottom, into [target] from 0 on, without gaps. */
    fun read(frame: YuvFrame, left: Int, right: Int, top: Int, bottom: Int, target: IntArray) {
        reserve(frame)
        for (line in top until bottom) {
            if (line == top || line % 2 == 0) readChroma(frame, line / 2)
            readRow(frame.y!!, line * frame.yRowStride, lumas, frame.width)
            convert(frame.chromaPixelStride, left, right, target, (line - top) * (right - left))
        }
    }

    private fun reserve(frame: YuvFrame) {
        if (lumas.size < frame.width) lumas = ByteArray(frame.width)
        val chroma = chromaBytes(frame)
        if (blues.size < chroma) {
            blues = ByteArray(chroma)
            reds = ByteArray(chroma)
        }
    }

    private fun chromaBytes(frame: YuvFrame) = ((frame.width + 1) / 2 - 1) * frame.chromaPixelStride + 1

    private fun readChroma(frame: YuvFrame, line: Int) {
        val bytes = chromaBytes(frame)
        readRow(frame.u!!, line * frame.chromaRowStride, blues, bytes)
        readRow(frame.v!!, line * frame.chromaRowStride, reds, bytes)
    }

    private fun readRow(plane: ByteBuffer, start: Int, row: ByteArray, bytes: Int) {
        plane.seek(start)
        plane.get(row, 0, bytes)
    }

    /** JFIF's formula with libjpeg's numbers (jdcolor.c): fractions of 16 bits, each channel rounded by itself. */
    private fun convert(pixelStride: Int, left: Int, right: Int, target: IntArray, start: Int) {
        for (column in left until right) {
            val luma = lumas[column].toInt() and 0xff
            val chroma = (column shr 1) * pixelStride
            val blueness = (blues[chroma].toInt() and 0xff) - 128
            val redness = (reds[chroma].toInt() and 0xff) - 128
            val red = clamp(luma + (RED * redness + HALF shr 16))
            val green = clamp(luma + (HALF - GREEN_OF_BLUE * blueness - GREEN_OF_RED * redness shr 16))
            val blue = clamp(luma + (BLUE * blueness + HALF shr 16))
            target[start + column - left] = red shl 16 or (green shl 8) or blue
        }
    }

    private fun clamp(value: Int): Int = if (value < 0) 0 else if (value > 255) 255 else value

    private companion object {
        const val HALF = 1 shl 15
        const val RED = 91881 // 1.402
        const val BLUE = 116130 // 1.772
        const val GREEN_OF_BLUE = 22554 // 0.344136
        const val GREEN_OF_RED = 46802 // 0.714136
    }
}
