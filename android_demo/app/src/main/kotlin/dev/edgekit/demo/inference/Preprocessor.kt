package dev.edgekit.demo.inference

import dev.edgekit.demo.record.InputSpec
import java.nio.ByteBuffer

/**
 * Planes of an `android.media.Image` of format YUV_420_888, full range BT.601 as cameras give it.
 *
 * One of these is kept and its fields are set anew for each frame, so that a frame allocates nothing.
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

/**
 * Pictures to one model's input, by its InputSpec: oriented, resized and cropped bit for bit as Pillow does it.
 *
 * Keeps its scratch memory from picture to picture, so a stream of frames of one size allocates nothing. Not
 * thread-safe.
 *
 * @throws dev.edgekit.demo.record.Refusal where the model's input has another shape than the spec makes.
 */
class Preprocessor(private val spec: InputSpec, private val tensor: TensorInfo) {
    /** ARGB pixels, row by row ([pixels] as `Bitmap.getPixels` gives them; alpha is ignored), into [target]. */
    fun argb(pixels: IntArray, width: Int, height: Int, orientation: Orientation, target: ByteBuffer): Unit =
        TODO("$spec $tensor $pixels $width $height $orientation $target")

    /** A camera's frame into [target]. */
    fun yuv(frame: YuvFrame, orientation: Orientation, target: ByteBuffer): Unit = TODO("$frame $orientation $target")

    /** The golden miniature, 16 x 16 RGB bytes, each pixel repeated to fill [target]. */
    fun miniature(pixels: ByteArray, target: ByteBuffer): Unit = TODO("$pixels $target")
}
