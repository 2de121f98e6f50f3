package dev.edgekit.demo.inference

import dev.edgekit.demo.record.ChannelOrder
import dev.edgekit.demo.record.InputSpec
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.seek
import java.nio.ByteBuffer

/**
 * Pictures to one model's input, by its InputSpec: oriented, resized and cropped bit for bit as Pillow does it.
 *
 * Keeps its scratch memory from picture to picture, so a stream of frames of one size allocates nothing. Not
 * thread-safe.
 *
 * @throws Refusal where the model's input has another shape than the spec makes.
 */
class Preprocessor(private val spec: InputSpec, tensor: TensorInfo) {
    private val encoder = PixelEncoder(spec, tensor)
    private val yuv = YuvReader()
    private val kernels = Kernels()
    private val image = IntArray(spec.width * spec.height)
    private var plan: Resampling? = null
    private var part = IntArray(0)
    private var between = IntArray(0)
    private var turned = IntArray(0)

    init {
        val wanted = listOf(1, spec.height, spec.width, CHANNELS)
        if (tensor.shape != wanted) {
            throw Refusal("the model's input is ${tensor.shape}, its card makes $wanted; export the model again")
        }
    }

    /**
     * ARGB pixels, row by row ([pixels] as `Bitmap.getPixels` gives them; alpha is ignored), into [target].
     *
     * @throws Refusal for a picture without pixels, or too narrow for the model.
     */
    fun argb(pixels: IntArray, width: Int, height: Int, orientation: Orientation, target: ByteBuffer) {
        resample(plan(width, height, orientation), pixels, 0, width)
        encoder.encode(image, target)
    }

    /** A camera's frame into [target]; only the part that the crop needs is converted. */
    fun yuv(frame: YuvFrame, orientation: Orientation, target: ByteBuffer) {
        val plan = plan(frame.width, frame.height, orientation)
        val width = plan.columns.end - plan.columns.start
        val height = plan.rows.end - plan.rows.start
        part = reserved(part, width * height)
        yuv.read(frame, plan.columns.start, plan.columns.end, plan.rows.start, plan.rows.end, part)
        resample(plan, part, -plan.rows.start * width - plan.columns.start, width)
        encoder.encode(image, target)
    }

    /** The golden miniature, 16 x 16 RGB bytes, each pixel repeated to fill [target]. */
    fun miniature(pixels: ByteArray, target: ByteBuffer) {
        for (row in 0 until spec.height) {
            for (column in 0 until spec.width) {
                val from = (row * MINIATURE / spec.height * MINIATURE + column * MINIATURE / spec.width) * CHANNELS
                image[row * spec.width + column] = packed(pixels, from)
            }
        }
        encoder.encode(image, target)
    }

    /** The last picture as the model saw it, packed as 0xRRGGBB, row by row; it changes with the next one. */
    fun seen(): IntArray = image

    private fun packed(rgb: ByteArray, at: Int): Int =
        (rgb[at].toInt() and 0xff shl 16) or (rgb[at + 1].toInt() and 0xff shl 8) or (rgb[at + 2].toInt() and 0xff)

    private fun plan(width: Int, height: Int, orientation: Orientation): Resampling {
        plan?.let { if (it.isFor(width, height, orientation)) return it }
        if (width < 1 || height < 1) throw Refusal("a picture of $width x $height pixels has nothing to classify")
        return Resampling(width, height, orientation, spec).also { plan = it }
    }

    /** Stored pixel (x, y) is at [offset] + y * [stride] + x. */
    private fun resample(plan: Resampling, source: IntArray, offset: Int, stride: Int) {
        if (plan.orientation.transposed) downFirst(plan, source, offset, stride) else acrossFirst(plan, source, offset, stride)
    }

    private fun acrossFirst(plan: Resampling, source: IntArray, offset: Int, stride: Int) {
        val width = plan.columns.size
        val top = plan.rows.start
        between = reserved(between, (plan.rows.end - top) * width)
        kernels.along(source, offset + top * stride, stride, plan.rows.end - top, plan.columns, between)
        kernels.down(between, -top * width, width, width, plan.rows, image)
    }

    /** Stored rows are the crop's columns: they are resized first, and what comes out is turned. */
    private fun downFirst(plan: Resampling, source: IntArray, offset: Int, stride: Int) {
        val left = plan.columns.start
        val width = plan.columns.end - left
        between = reserved(between, plan.rows.size * width)
        turned = reserved(turned, image.size)
        kernels.down(source, offset + left, stride, width, plan.rows, between)
        kernels.along(between, -left, width, plan.rows.size, plan.columns, turned)
        for (row in 0 until spec.height) {
            for (column in 0 until spec.width) image[row * spec.width + column] = turned[column * spec.height + row]
        }
    }

    private fun reserved(scratch: IntArray, size: Int): IntArray = if (scratch.size < size) IntArray(size) else scratch

    private companion object {
        const val CHANNELS = 3
        const val MINIATURE = 16
    }
}

/** Pixels to the input tensor's own type: 256 values per channel, computed once and looked up. */
internal class PixelEncoder(spec: InputSpec, private val tensor: TensorInfo) {
    private val size = tensor.type.bytes
    private val bytes = ByteArray(tensor.bytes)
    private val shifts = if (spec.channels == ChannelOrder.RGB) intArrayOf(16, 8, 0) else intArrayOf(0, 8, 16)
    private val table = IntArray(3 * 256) { bits((it % 256 - spec.mean[it / 256]) / spec.std[it / 256]) }

    /** Packed pixels into [target], from 0 on. */
    fun encode(image: IntArray, target: ByteBuffer) {
        for (channel in 0 until 3) {
            if (size == 1) encodeBytes(image, channel) else encodeWords(image, channel)
        }
        target.seek(0)
        target.put(bytes)
        target.seek(0)
    }

    private fun encodeBytes(image: IntArray, channel: Int) {
        val shift = shifts[channel]
        for (pixel in image.indices) {
            bytes[pixel * 3 + channel] = table[channel * 256 + (image[pixel] ushr shift and 0xff)].toByte()
        }
    }

    /** Little-endian, as every processor that Android and the tests run on. */
    private fun encodeWords(image: IntArray, channel: Int) {
        val shift = shifts[channel]
        for (pixel in image.indices) {
            val value = table[channel * 256 + (image[pixel] ushr shift and 0xff)]
            val start = (pixel * 3 + channel) * size
            for (byte in 0 until size) bytes[start + byte] = (value ushr 8 * byte).toByte()
        }
    }

    /** In steps of the tensor's scale, to the nearest, halves to even; float arithmetic as numpy does it. */
    private fun bits(value: Float): Int {
        if (tensor.type == ElementType.FLOAT32) return java.lang.Float.floatToRawIntBits(value)
        val scale = if (tensor.scale == 0f) 1f else tensor.scale
        val steps = Math.rint((value / scale).toDouble()) + tensor.zeroPoint
        return steps.coerceIn(tensor.type.least.toDouble(), tensor.type.most.toDouble()).toInt()
    }
}
