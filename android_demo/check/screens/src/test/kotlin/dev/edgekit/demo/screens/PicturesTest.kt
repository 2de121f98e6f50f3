package dev.edgekit.demo.screens

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RadialGradient
import android.graphics.Shader
import android.net.Uri
import android.os.Looper
import android.view.View
import android.widget.ProgressBar
import android.widget.TextView
import dev.edgekit.demo.BenchmarkActivity
import dev.edgekit.demo.MainActivity
import dev.edgekit.demo.R
import dev.edgekit.demo.bench.Protocols
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Verdict
import org.junit.Assert.assertTrue
import org.junit.Before
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import java.io.ByteArrayOutputStream
import java.io.File
import java.util.concurrent.CancellationException

private const val PORTRAIT = "w360dp-h740dp-hdpi"

/** A picture of each screen, for docs/pictures/android; what is measured in them is made up and says so there. */
@RunWith(PhoneTestRunner::class)
@Config(application = TestPhone::class, qualifiers = PORTRAIT)
class PicturesTest {
    private val phone get() = RuntimeEnvironment.getApplication() as TestPhone

    @Before
    fun installed() {
        val broken = File(phone.getExternalFilesDir("models"), "holiday-notes.tflite")
        broken.writeText("no model at all, though its name says so")
    }

    @Test
    fun classify() = classified("classify")

    @Test
    @Config(qualifiers = "+night")
    fun classifyDark() = classified("classify-dark")

    @Test
    @Config(qualifiers = "w740dp-h360dp-land-hdpi")
    fun classifyLandscape() = classified("classify-landscape")

    @Test
    @Config(fontScale = 1.7f)
    fun classifyLargeFont() = classified("classify-large-font")

    @Test
    fun asking() = save("classify-permission", opened(0))

    @Test
    fun models() = save("models", opened(1))

    @Test
    @Config(qualifiers = "+night")
    fun modelsDark() = save("models-dark", opened(1))

    @Test
    @Config(fontScale = 1.7f)
    fun modelsLargeFont() = save("models-large-font", opened(1))

    @Test
    fun benchmark() = save("benchmark", opened(2))

    @Test
    @Config(qualifiers = "+night")
    fun benchmarkDark() = save("benchmark-dark", opened(2))

    @Test
    @Config(fontScale = 1.7f)
    fun benchmarkLargeFont() = save("benchmark-large-font", opened(2))

    @Test
    @Config(qualifiers = "w360dp-h740dp-hdpi")
    fun results() = compared("benchmark-results")

    @Test
    @Config(qualifiers = "w360dp-h740dp-night-hdpi")
    fun resultsDark() = compared("benchmark-results-dark")

    @Test
    fun sustained() {
        val activity = opened(2)
        phone.bench = ScriptedBench { subjects, _, progress ->
            for (slice in 0..90) {
                val heat = 1 + 0.45 * slice / (slice + 30.0)
                subjects.forEachIndexed { at, _ ->
                    val state = QuietMachine.state(0).copy(atS = slice * 10.0 + at, thermalStatus = slice / 50)
                    progress.slice(at, LongArray(9) { ((if (at == 0) 2.1 else 3.4) * heat * 1e6).toLong() }, state)
                }
            }
            progress.at(0.52, "SqueezeNet and MobileNet by turns")
            save("benchmark-sustained", activity)
            throw CancellationException()
        }
        phone.benchmark.protocol(Protocols.SUSTAINED)
        phone.benchmark.start()
    }

    @Test
    fun headless() {
        val activity = Robolectric.buildActivity(BenchmarkActivity::class.java, Intent()).setup().get()
        activity.requireViewById<TextView>(R.id.title).setText(R.string.measuring)
        activity.requireViewById<TextView>(R.id.name).text = "squeezenet_v1_1-224-int8"
        activity.requireViewById<View>(R.id.what).visibility = View.VISIBLE
        activity.requireViewById<ProgressBar>(R.id.bar).apply {
            visibility = View.VISIBLE
            progress = 420
        }
        save("measuring", activity)
    }

    private fun opened(screen: Int): MainActivity {
        val activity = Robolectric.buildActivity(MainActivity::class.java).setup().get()
        activity.show(screen)
        return activity
    }

    private fun classified(name: String) {
        shadowOf(phone).grantPermissions(Manifest.permission.CAMERA)
        val activity = opened(0)
        val content = ByteArrayOutputStream().also { drawn().compress(Bitmap.CompressFormat.PNG, 100, it) }
        val uri = Uri.parse("content://test/picture")
        shadowOf(phone.contentResolver).registerInputStreamSupplier(uri) { content.toByteArray().inputStream() }
        val answer = Intent().setData(uri)
        MainActivity::class.java.getDeclaredMethod("onActivityResult", Int::class.java, Int::class.java, Intent::class.java)
            .apply { isAccessible = true }
            .invoke(activity, 1, Activity.RESULT_OK, answer)
        save(name, activity)
        assertTrue("nothing was classified: ${phone.classify.state}", phone.classify.state.guesses.size == 3)
    }

    private fun compared(name: String) {
        val activity = opened(2)
        phone.bench = ScriptedBench { subjects, session, progress ->
            subjects.forEachIndexed { at, _ ->
                for (slice in 0..9) {
                    val took = LongArray(20) { ((if (at == 0) 2.1 else 3.4) * 1e6).toLong() + slice % 3 * 20_000 }
                    progress.slice(at, took, QuietMachine.state(0).copy(atS = slice.toDouble()))
                }
            }
            subjects.mapIndexed { at, subject -> result(at, imagined(subject, session, if (at == 0) 2.1 else 3.4)) }
        }
        phone.benchmark.start()
        save(name, activity)
    }

    private fun result(at: Int, measurement: Measurement) =
        if (at == 0) measurement
        else measurement.copy(verdict = Verdict("suspect", listOf("the phone had become warm: heat moderate")))

    private fun save(name: String, activity: Activity) {
        shadowOf(Looper.getMainLooper()).idle()
        val view = activity.window.decorView
        val bitmap = Bitmap.createBitmap(view.width, view.height, Bitmap.Config.ARGB_8888)
        view.draw(Canvas(bitmap))
        val folder = File(System.getProperty("pictures")!!).apply { mkdirs() }
        File(folder, "$name.png").outputStream().use { bitmap.compress(Bitmap.CompressFormat.PNG, 100, it) }
        assertTrue("$name is one colour all over", colours(bitmap) > 8)
    }

    private fun colours(bitmap: Bitmap): Int =
        (0 until bitmap.height step 7).flatMapTo(HashSet()) { y ->
            (0 until bitmap.width step 7).map { x -> bitmap.getPixel(x, y) }
        }.size

    /** A traffic light before the sky: a picture that nobody else owns. */
    private fun drawn(): Bitmap {
        val bitmap = Bitmap.createBitmap(600, 600, Bitmap.Config.ARGB_8888)
        val canvas = Canvas(bitmap)
        canvas.drawColor(Color.rgb(142, 186, 226))
        val paint = Paint(Paint.ANTI_ALIAS_FLAG)
        paint.color = Color.rgb(70, 74, 78)
        canvas.drawRect(285f, 470f, 315f, 600f, paint)
        paint.color = Color.rgb(24, 26, 28)
        canvas.drawRoundRect(205f, 60f, 395f, 480f, 40f, 40f, paint)
        listOf(Color.rgb(255, 60, 40) to 140f, Color.rgb(70, 62, 20) to 270f, Color.rgb(16, 60, 30) to 400f)
            .forEach { (colour, y) ->
                paint.shader = RadialGradient(300f, y, 58f, colour, darker(colour), Shader.TileMode.CLAMP)
                canvas.drawCircle(300f, y, 54f, paint)
                paint.shader = null
            }
        return bitmap
    }

    private fun darker(colour: Int) =
        Color.rgb(Color.red(colour) * 7 / 10, Color.green(colour) * 7 / 10, Color.blue(colour) * 7 / 10)
}
