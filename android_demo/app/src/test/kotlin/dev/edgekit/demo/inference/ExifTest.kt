package dev.edgekit.demo.inference

import org.junit.Assert.assertEquals
import org.junit.Test
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Random

class ExifTest {
    /** A JPEG's beginning: a JFIF segment, then EXIF with two tags, then the scan. */
    private fun jpeg(order: ByteOrder, orientation: Int): ByteArray {
        val file = ByteBuffer.allocate(100)
        file.putShort(0xffd8.toShort()).putShort(0xffe0.toShort()).putShort(16).put(ByteArray(14))
        file.putShort(0xffe1.toShort()).putShort(46).putInt(0x45786966).putShort(0)
        file.order(order).putShort(if (order == ByteOrder.LITTLE_ENDIAN) 0x4949 else 0x4d4d).putShort(42).putInt(8)
        file.putShort(2)
        file.putShort(0x010f).putShort(2).putInt(1).putInt(0)
        file.putShort(0x0112).putShort(3).putInt(1).putShort(orientation.toShort()).putShort(0)
        file.putInt(0).order(ByteOrder.BIG_ENDIAN).putShort(0xffda.toShort())
        return file.array()
    }

    @Test
    fun bothByteOrdersAreRead() {
        for (number in 1..8) {
            assertEquals(Orientation.values()[number - 1], Orientation.ofJpeg(jpeg(ByteOrder.LITTLE_ENDIAN, number)))
            assertEquals(Orientation.values()[number - 1], Orientation.ofJpeg(jpeg(ByteOrder.BIG_ENDIAN, number)))
        }
    }

    @Test
    fun whatCannotBeReadIsUpright() {
        val whole = jpeg(ByteOrder.BIG_ENDIAN, 6)
        assertEquals(Orientation.UPRIGHT, Orientation.ofJpeg(jpeg(ByteOrder.BIG_ENDIAN, 9)))
        assertEquals(Orientation.UPRIGHT, Orientation.ofJpeg(ByteArray(0)))
        assertEquals(Orientation.UPRIGHT, Orientation.ofJpeg("no picture at all".toByteArray()))
        for (size in 0 until 60) Orientation.ofJpeg(whole.copyOf(size))
        val random = Random(4)
        repeat(5000) {
            val damaged = whole.copyOf()
            repeat(3) { damaged[random.nextInt(damaged.size)] = random.nextInt().toByte() }
            Orientation.ofJpeg(damaged) // nothing is thrown
        }
    }
}
