package dev.edgekit.demo.inference

import dev.edgekit.demo.Expected
import dev.edgekit.demo.noise
import dev.edgekit.demo.record.InputSpec
import dev.edgekit.demo.record.JsonObject
import dev.edgekit.demo.stored
import org.junit.Assert.assertFalse
import org.junit.Assert.assertTrue
import org.junit.Test
import java.nio.ByteBuffer
import kotlin.math.abs

/** Resizing, cropping and orientation against Pillow's own results, bit for bit. */
class CropTest {
    @Test
    fun everySizeAndOrientationIsAsPillowHasIt() {
        val expected = ByteBuffer.wrap(Expected.file("crops.bin").readBytes())
        for (case in Expected.objects("crops")) {
            val spec = spec(case.child("spec"))
            val wanted = ByteArray(spec.width * spec.height * 3).also { expected.get(it) }
            val name = "${case.int("width")} x ${case.int("height")}, EXIF ${case.int("exif")}, $spec"
            assertAlike(name, Expected.packed(wanted), crop(case, spec), steps(case, spec))
        }
        assertFalse("more crops than cases", expected.hasRemaining())
    }

    /** A strip much reduced in height is resized down first by Pillow 13, and across first by those before it. */
    private fun steps(case: JsonObject, spec: InputSpec): Int {
        val sides = listOf(case.int("width"), case.int("height"))
        return if (sides.max() * spec.resizeShorter / sides.min() > LONGEST_SIDE) 1 else 0
    }

    private fun assertAlike(name: String, wanted: IntArray, found: IntArray, steps: Int) {
        if (steps == 0) return assertTrue(name, wanted.contentEquals(found))
        for (position in wanted.indices) {
            for (shift in intArrayOf(0, 8, 16)) {
                val difference = abs((found[position] ushr shift and 255) - (wanted[position] ushr shift and 255))
                assertTrue("$name: $difference steps at $position", difference <= steps)
            }
        }
    }

    /** The picture in the file is stored: Pillow turned it upright before it cropped. */
    private fun crop(case: JsonObject, spec: InputSpec): IntArray {
        val width = case.int("width")
        val height = case.int("height")
        val tensor = TensorInfo(listOf(1, spec.height, spec.width, 3), ElementType.UINT8, 1f, 0)
        val preprocessor = Preprocessor(spec, tensor)
        val target = ByteBuffer.allocateDirect(tensor.bytes)
        preprocessor.argb(noise(width, height), width, height, Orientation.ofExif(case.int("exif")), target)
        return preprocessor.seen().copyOf()
    }

    private companion object {
        const val LONGEST_SIDE = 8192
    }

    private fun spec(fields: JsonObject) =
        InputSpec(fields.int("height"), fields.int("width"), fields.int("resize_shorter"))
}
