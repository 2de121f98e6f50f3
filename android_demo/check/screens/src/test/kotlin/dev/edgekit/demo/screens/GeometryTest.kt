package dev.edgekit.demo.screens

import dev.edgekit.demo.ui.Figures
import dev.edgekit.demo.ui.FrameGate
import dev.edgekit.demo.ui.Names
import dev.edgekit.demo.ui.PictureReader
import dev.edgekit.demo.ui.Series
import dev.edgekit.demo.ui.Viewfinder
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test
import java.util.concurrent.Executor
import java.util.concurrent.RejectedExecutionException
import kotlin.math.abs
import kotlin.math.cos
import kotlin.math.sin
import kotlin.random.Random

/** What screens reckon with, without Android. */
class GeometryTest {
    /** A frame and the preview must agree: turning by one and drawing by the other ends with the same side up. */
    @Test
    fun aBackCamerasFramesStandUpright() {
        // The usual phone: its sensor is turned by 90 degrees.
        assertEquals(listOf(90, 0, 270, 180), listOf(0, 90, 180, 270).map { Viewfinder.frameDegrees(90, it, false) })
        // A tablet whose natural position is landscape.
        assertEquals(listOf(0, 270, 180, 90), listOf(0, 90, 180, 270).map { Viewfinder.frameDegrees(0, it, false) })
        // A front camera turns the other way.
        assertEquals(listOf(270, 0, 90, 180), listOf(0, 90, 180, 270).map { Viewfinder.frameDegrees(270, it, true) })
    }

    /** For any camera, view and turn the view is covered, the picture is not stretched, and no more is cropped than must be. */
    @Test
    fun theViewIsFilledWithoutStretching() {
        val random = Random(7)
        repeat(2000) {
            val (viewWidth, viewHeight) = List(2) { random.nextInt(1, 3000) }
            val (width, height) = List(2) { random.nextInt(1, 4000) }
            val sensor = random.nextInt(4) * 90
            val turn = random.nextInt(4) * 90
            val fit = Viewfinder.fill(viewWidth, viewHeight, width, height, sensor, turn)
            val natural = if (sensor % 180 == 0) width to height else height to width
            val scale = viewWidth * fit.scaleX / natural.first
            assertEquals("stretched", scale, viewHeight * fit.scaleY / natural.second, scale * 1e-4f)
            val angle = Math.toRadians(fit.degrees.toDouble())
            val (sine, cosine) = abs(sin(angle)) to abs(cos(angle))
            val shownWidth = natural.first * scale * cosine + natural.second * scale * sine
            val shownHeight = natural.first * scale * sine + natural.second * scale * cosine
            assertTrue(shownWidth > viewWidth * 0.999 && shownHeight > viewHeight * 0.999)
            assertTrue(shownWidth < viewWidth * 1.001 || shownHeight < viewHeight * 1.001)
        }
    }

    @Test
    fun theSmallestSufficientSizeIsChosen() {
        val sizes = listOf(4000 to 3000, 640 to 480, 1280 to 720, 320 to 240)
        assertEquals(640 to 480, Viewfinder.choose(sizes, 480))
        assertEquals(320 to 240, Viewfinder.choose(listOf(320 to 240, 176 to 144), 480))
        assertNull(Viewfinder.choose(emptyList(), 480))
    }

    private class Frame : AutoCloseable {
        var closed = 0

        override fun close() {
            closed++
        }
    }

    @Test
    fun framesAreDroppedAndNotQueued() {
        val waiting = ArrayDeque<Runnable>()
        val gate = FrameGate(Executor { waiting.add(it) })
        val frames = List(5) { Frame() }
        val worked = ArrayList<Frame>()
        frames.take(3).forEach { frame -> gate.offer({ frame }) { worked.add(it) } }
        assertEquals(1, waiting.size)
        assertEquals(2L, gate.dropped)
        waiting.removeFirst().run()
        frames.drop(3).forEach { frame -> gate.offer({ frame }) { worked.add(it) } }
        waiting.removeFirst().run()
        assertEquals(listOf(frames[0], frames[3]), worked)
        assertEquals(List(5) { 1 }, frames.map { it.closed })
    }

    @Test
    fun theGateOpensAgainAfterAnythingThatFails() {
        val frame = Frame()
        val gate = FrameGate(Executor { it.run() })
        runCatching { gate.offer({ frame }) { error("the model fails") } }
        assertEquals(1, frame.closed)
        var worked = 0
        gate.offer({ Frame() }) { worked++ }
        gate.offer({ null as Frame? }) { worked++ }
        assertEquals(1, worked)
        val ended = FrameGate(Executor { throw RejectedExecutionException() })
        ended.offer({ frame }) { worked++ }
        assertEquals(2, frame.closed)
    }

    @Test
    fun millisecondsKeepThreeDigits() {
        assertEquals(
            listOf("0.042", "4.21", "42.1", "421", Figures.NONE),
            listOf(42_000.0, 4.21e6, 42.1e6, 421e6, null).map { Figures.milliseconds(it) },
        )
    }

    @Test
    fun aShareIsNeverRoundedToCertainty() {
        assertEquals(
            listOf("0 %", "<1 %", "1 %", "50 %", "99 %", ">99 %", "100 %"),
            listOf(0f, 0.004f, 0.01f, 0.5f, 0.99f, 0.996f, 1f).map { Figures.percent(it).replace('\u00A0', ' ') },
        )
    }

    @Test
    fun durations() {
        val shown = listOf(1.3, 6.0, 61.0, 1800.3).map { Figures.duration(it).replace('\u00A0', ' ') }
        assertEquals(listOf("1.3 s", "6 s", "61 s", "30 min"), shown)
    }

    /** A line of half an hour keeps its span and its mean, in bounded memory. */
    @Test
    fun aLongLineStaysShort() {
        val series = Series(listOf("model"), most = 64)
        for (second in 0 until 100_000) series.add(0, second.toDouble(), (second % 10 + 1) * 1e6)
        val line = series.points[0]
        assertTrue("${line.size}", line.size in 32..64)
        assertEquals(line.sortedBy { it.seconds }, line)
        assertEquals(5.5, line.map { it.milliseconds }.average(), 0.3)
        assertEquals(100_000.0, series.lastSecond, 2000.0)
        assertNull(Series(listOf("model")).change(0))
    }

    @Test
    fun namesStayInTheirFolder() {
        assertEquals("passwd", Names.safe("../../etc/passwd"))
        assertEquals("my_model", Names.safe("my model.tflite"))
        assertEquals("model", Names.safe(""))
        assertEquals("model", Names.safe("..tflite"))
        assertEquals(80, Names.safe("x".repeat(500)).length)
    }

    @Test
    fun largePicturesAreHalvedUntilTheyFit() {
        assertEquals(1, PictureReader.sampleSize(4000, 3000))
        assertEquals(1, PictureReader.sampleSize(1, 5000))
        assertEquals(4, PictureReader.sampleSize(16320, 12240))
        assertTrue(65_535L / PictureReader.sampleSize(65_535, 65_535) * (65_535 / PictureReader.sampleSize(65_535, 65_535)) <= 16_000_000)
    }
}
