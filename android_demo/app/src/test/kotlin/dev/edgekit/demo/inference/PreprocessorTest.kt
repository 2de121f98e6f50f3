package dev.edgekit.demo.inference

import dev.edgekit.demo.noise
import dev.edgekit.demo.record.ChannelOrder
import dev.edgekit.demo.record.InputSpec
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.stored
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random

class PreprocessorTest {
    private val random = Random(5)

    private fun tensor(spec: InputSpec, type: ElementType = ElementType.UINT8, scale: Float = 1f, zero: Int = 0) =
        TensorInfo(listOf(1, spec.height, spec.width, 3), type, scale, zero)

    private fun target(tensor: TensorInfo) = ByteBuffer.allocateDirect(tensor.bytes).order(ByteOrder.nativeOrder())

    private fun seen(spec: InputSpec, pixels: IntArray, width: Int, height: Int, orientation: Orientation): IntArray {
        val tensor = tensor(spec)
        val preprocessor = Preprocessor(spec, tensor)
        preprocessor.argb(pixels, width, height, orientation, target(tensor))
        return preprocessor.seen()
    }

    @Test
    fun howAPictureWasHeldDoesNotMatter() = repeat(60) {
        val width = 1 + random.nextInt(90)
        val height = 1 + random.nextInt(90)
        val spec = InputSpec(1 + random.nextInt(40), 1 + random.nextInt(40), 20 + random.nextInt(40))
        val upright = noise(width, height)
        val wanted = seen(spec, upright, width, height, Orientation.UPRIGHT)
        for (orientation in Orientation.values()) {
            val pixels = stored(upright, width, height, orientation)
            val sides = if (orientation.transposed) height to width else width to height
            val found = seen(spec, pixels, sides.first, sides.second, orientation)
            assertArrayEquals("$orientation, $width x $height, $spec", wanted, found)
        }
    }

    @Test
    fun aPlainColourStaysWhatItIs() = repeat(40) {
        val colour = random.nextInt() and 0xffffff
        val width = 1 + random.nextInt(300)
        val height = 1 + random.nextInt(300)
        val found = seen(InputSpec(16, 16, 18), IntArray(width * height) { colour }, width, height, Orientation.UPRIGHT)
        assertArrayEquals(IntArray(256) { colour }, found)
    }

    @Test
    fun theCropIsTheMiddle() {
        val spec = InputSpec(10, 10, 20)
        val pixels = IntArray(40 * 20) { if (it % 40 in 15 until 25 && it / 40 in 5 until 15) 0xffffff else 0 }
        assertArrayEquals(IntArray(100) { 0xffffff }, seen(spec, pixels, 40, 20, Orientation.UPRIGHT))
    }

    @Test
    fun valuesAreQuantizedToTheNearestStep() = repeat(60) {
        val type = listOf(ElementType.INT8, ElementType.UINT8, ElementType.INT16)[random.nextInt(3)]
        val scale = (0.001f + random.nextFloat()) / 10
        val zero = type.least + random.nextInt(type.most - type.least + 1)
        val mean = List(3) { 100 * random.nextFloat() }
        val std = List(3) { 1 + 99 * random.nextFloat() }
        val order = ChannelOrder.values()[random.nextInt(2)]
        val spec = InputSpec(1, 1, 1, order, mean, std)
        val tensor = tensor(spec, type, scale, zero)
        val target = target(tensor)
        val pixel = random.nextInt() and 0xffffff
        Preprocessor(spec, tensor).argb(intArrayOf(pixel), 1, 1, Orientation.UPRIGHT, target)
        for (channel in 0 until 3) {
            val shift = if (order == ChannelOrder.RGB) 16 - 8 * channel else 8 * channel
            val real = ((pixel ushr shift and 255).toFloat() - mean[channel]) / std[channel]
            val steps = (Math.rint((real / scale).toDouble()) + zero).coerceIn(type.least.toDouble(), type.most.toDouble())
            assertEquals(steps.toFloat(), raw(target, channel, type), 0f)
        }
    }

    @Test
    fun floatInputsAreNormalised() {
        val spec = InputSpec(1, 1, 1, ChannelOrder.BGR, listOf(104f, 117f, 123f), listOf(1f, 2f, 4f))
        val tensor = tensor(spec, ElementType.FLOAT32)
        val target = target(tensor)
        Preprocessor(spec, tensor).argb(intArrayOf(0x0a1420), 1, 1, Orientation.UPRIGHT, target)
        assertEquals(listOf(32f - 104, (20f - 117) / 2, (10f - 123) / 4), List(3) { target.getFloat(4 * it) })
    }

    /** The same picture as planes and as pixels, with the strides that cameras have: planar, and interleaved. */
    @Test
    fun aFrameIsThePictureThatItHolds() = repeat(40) {
        val width = 2 * (1 + random.nextInt(40))
        val height = 2 * (1 + random.nextInt(40))
        val spec = InputSpec(1 + random.nextInt(16), 1 + random.nextInt(16), 16)
        val frame = frame(width, height, pixelStride = 1 + random.nextInt(2), padding = random.nextInt(9))
        val tensor = tensor(spec)
        val preprocessor = Preprocessor(spec, tensor)
        for (orientation in Orientation.values()) {
            preprocessor.yuv(frame, orientation, target(tensor))
            val found = preprocessor.seen().copyOf()
            assertAlike("$orientation", seen(spec, pixels(frame), width, height, orientation), found)
        }
    }

    /** Whole numbers stand in for the formula's fractions, so one step is allowed. */
    private fun assertAlike(what: String, wanted: IntArray, found: IntArray) {
        for (at in wanted.indices) {
            for (shift in intArrayOf(0, 8, 16)) {
                val difference = (found[at] ushr shift and 255) - (wanted[at] ushr shift and 255)
                assertTrue("$what: $difference steps at $at", difference in -1..1)
            }
        }
    }

    private fun frame(width: Int, height: Int, pixelStride: Int, padding: Int): YuvFrame {
        val frame = YuvFrame()
        frame.width = width
        frame.height = height
        frame.yRowStride = width + padding
        frame.chromaPixelStride = pixelStride
        frame.chromaRowStride = width / 2 * pixelStride + padding
        frame.y = plane(frame.yRowStride * (height - 1) + width)
        // the last row ends with its last sample, as cameras' planes do
        val chroma = frame.chromaRowStride * (height / 2 - 1) + (width / 2 - 1) * pixelStride + 1
        frame.u = plane(chroma)
        frame.v = plane(chroma)
        return frame
    }

    private fun plane(size: Int): ByteBuffer {
        val bytes = ByteArray(size).also { random.nextBytes(it) }
        return ByteBuffer.allocateDirect(size).apply { put(bytes) }
    }

    /** By JFIF's formula in real numbers. */
    private fun pixels(frame: YuvFrame): IntArray = IntArray(frame.width * frame.height) {
        val column = it % frame.width
        val row = it / frame.width
        val y = frame.y!!.get(row * frame.yRowStride + column).toInt() and 255
        val at = row / 2 * frame.chromaRowStride + column / 2 * frame.chromaPixelStride
        val u = (frame.u!!.get(at).toInt() and 255) - 128
        val v = (frame.v!!.get(at).toInt() and 255) - 128
        fun channel(value: Double) = Math.rint(value).toInt().coerceIn(0, 255)
        val red = channel(y + 1.402 * v)
        val green = channel(y - 0.344136 * u - 0.714136 * v)
        red shl 16 or (green shl 8) or channel(y + 1.772 * u)
    }

    @Test
    fun framesOfOneSizeAllocateNothing() {
        val spec = InputSpec(224, 224, 256)
        val tensor = tensor(spec, ElementType.INT8)
        val preprocessor = Preprocessor(spec, tensor)
        val target = target(tensor)
        val frame = frame(640, 480, pixelStride = 2, padding = 0)
        val pixels = noise(640, 480)
        val outputs = TensorInfo(listOf(1, 1000), ElementType.INT8, 0.1f, 0)
        val postprocessor = Postprocessor(outputs, dev.edgekit.demo.record.OutputKind.LOGITS)
        val ranking = Ranking(5)
        val median = RollingMedian(30)
        val work = {
            preprocessor.yuv(frame, Orientation.ROTATED_90, target)
            postprocessor.rank(target, ranking)
            median.add(ranking.classes[0].toLong())
        }
        assertEquals("bytes per camera frame", 0, allocated(work) / FRAMES)
        assertEquals("bytes per picture", 0, allocated { preprocessor.argb(pixels, 640, 480, Orientation.UPRIGHT, target) } / FRAMES)
    }

    /** Bytes that [FRAMES] turns allocate on this thread, after as many in which code and scratch memory are made. */
    private fun allocated(work: () -> Unit): Long {
        val threads = ManagementFactory.getThreadMXBean() as com.sun.management.ThreadMXBean
        repeat(FRAMES) { work() }
        val before = threads.getThreadAllocatedBytes(Thread.currentThread().id)
        repeat(FRAMES) { work() }
        return threads.getThreadAllocatedBytes(Thread.currentThread().id) - before
    }

    @Test
    fun whatDoesNotFitIsRefused() {
        val spec = InputSpec(8, 8, 8)
        assertThrows(Refusal::class.java) { Preprocessor(spec, TensorInfo(listOf(1, 3, 8, 8), ElementType.INT8, 1f, 0)) }
        assertThrows(Refusal::class.java) { seen(spec, IntArray(0), 0, 0, Orientation.UPRIGHT) }
        val refusal = assertThrows(Refusal::class.java) { seen(InputSpec(60, 60, 40), IntArray(5000), 1, 5000, Orientation.UPRIGHT) }
        assertTrue(refusal.message, "1 x 5000 is too narrow" in refusal.message!!)
    }

    @Test
    fun turnsAddUp() {
        assertEquals(Orientation.ROTATED_90, Orientation.ofDegrees(-270))
        assertEquals(Orientation.UPRIGHT, Orientation.ofDegrees(720))
        assertThrows(IllegalArgumentException::class.java) { Orientation.ofDegrees(45) }
    }

    private companion object {
        const val FRAMES = 200
    }
}
