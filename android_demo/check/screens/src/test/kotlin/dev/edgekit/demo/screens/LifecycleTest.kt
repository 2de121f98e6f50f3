package dev.edgekit.demo.screens

import android.Manifest
import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Insets
import android.graphics.SurfaceTexture
import android.net.Uri
import android.os.Looper
import android.view.TextureView
import android.view.View
import android.view.ViewGroup
import android.view.WindowInsets
import android.widget.Button
import android.widget.TextView
import dev.edgekit.demo.BenchmarkActivity
import dev.edgekit.demo.MainActivity
import dev.edgekit.demo.R
import dev.edgekit.demo.bench.Headless
import dev.edgekit.demo.record.ArtifactReader
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.ui.Obstacle
import dev.edgekit.demo.ui.PictureReader
import dev.edgekit.demo.ui.ResultsProvider
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import org.junit.runner.RunWith
import org.robolectric.Robolectric
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.android.controller.ActivityController
import org.robolectric.annotation.Config
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.FileNotFoundException
import java.util.concurrent.CancellationException

/** What a person does with the app, and what the system does to it. */
@RunWith(PhoneTestRunner::class)
@Config(application = TestPhone::class, qualifiers = "w360dp-h740dp-hdpi")
class LifecycleTest {
    private val phone get() = RuntimeEnvironment.getApplication() as TestPhone

    private fun open(screen: Int = 0): ActivityController<MainActivity> =
        Robolectric.buildActivity(MainActivity::class.java).setup().also { it.get().show(screen) }

    private fun text(activity: Activity, id: Int) = activity.requireViewById<TextView>(id).text.toString()

    private fun surface(activity: Activity) = activity.requireViewById<TextureView>(R.id.preview)
        .surfaceTextureListener!!.onSurfaceTextureAvailable(SurfaceTexture(0), 100, 100)

    private fun answered(activity: Activity, granted: Boolean) {
        val code = if (granted) 0 else -1
        activity.onRequestPermissionsResult(2, arrayOf(Manifest.permission.CAMERA), intArrayOf(code))
    }

    @Test
    fun theCameraIsAskedForWithAReason() {
        val activity = open().get()
        assertTrue(text(activity, R.id.notice_text).contains("never leave"))
        assertNull(phone.camera.events)
        activity.requireViewById<Button>(R.id.notice_action).performClick()
        assertEquals(listOf(Manifest.permission.CAMERA), shadowOf(activity).lastRequestedPermission.requestedPermissions.toList())
        shadowOf(phone).grantPermissions(Manifest.permission.CAMERA)
        surface(activity)
        answered(activity, granted = true)
        assertNotNull(phone.camera.events)
        assertEquals(View.GONE, activity.requireViewById<View>(R.id.notice).visibility)
    }

    @Test
    fun aRefusalLeavesTheGalleryAndAWayBack() {
        val activity = open().get()
        answered(activity, granted = false)
        assertEquals(Obstacle.REFUSED_FOR_GOOD, phone.classify.state.obstacle)
        activity.requireViewById<Button>(R.id.notice_action).performClick()
        assertEquals("android.settings.APPLICATION_DETAILS_SETTINGS", shadowOf(activity).nextStartedActivity.action)
        activity.requireViewById<Button>(R.id.source).performClick()
        assertEquals("android.provider.action.PICK_IMAGES", shadowOf(activity).nextStartedActivity.action)
    }

    @Test
    @Config(sdk = [26])
    fun anOldPhoneChoosesAmongFiles() {
        val activity = open().get()
        activity.findViewById<Button>(R.id.source)!!.performClick()
        val asked = shadowOf(activity).nextStartedActivity
        assertEquals(Intent.ACTION_OPEN_DOCUMENT to "image/*", asked.action to asked.type)
    }

    @Test
    @Config(sdk = [26])
    fun everyScreenOpensOnTheOldestAndroid() {
        val controller = open()
        for (screen in listOf(1, 2, 0)) controller.get().show(screen)
        controller.recreate().pause().stop().destroy()
    }

    @Test
    fun aCameraThatAnotherAppHoldsIsSaidAndTriedAgain() {
        shadowOf(phone).grantPermissions(Manifest.permission.CAMERA)
        val activity = open().get()
        surface(activity)
        val first = phone.camera.events!!
        first.failed(Obstacle.HELD_BY_ANOTHER_APP)
        shadowOf(Looper.getMainLooper()).idle()
        assertTrue(text(activity, R.id.notice_text).contains("Another app holds the camera"))
        activity.requireViewById<Button>(R.id.notice_action).performClick()
        assertNotNull(phone.camera.events)
        assertTrue(phone.camera.events !== first)
        assertEquals(View.GONE, activity.requireViewById<View>(R.id.notice).visibility)
    }

    @Test
    fun theCameraIsFreeWhileTheAppIsNotOnTheScreen() {
        shadowOf(phone).grantPermissions(Manifest.permission.CAMERA)
        val controller = open()
        surface(controller.get())
        controller.pause().stop()
        assertNull(phone.camera.events)
        controller.restart().start().resume()
        assertNotNull(phone.camera.events)
        controller.get().show(1)
        assertNull(phone.camera.events)
    }

    @Test
    fun turningThePhoneIsNotLeavingTheApp() {
        val controller = open(2)
        phone.foreground.stayed()
        controller.recreate()
        assertTrue(phone.foreground.stayed())
        assertTrue("the screen is the same", controller.get().requireViewById<View>(R.id.tab_benchmark).isSelected)
        controller.pause().stop()
        assertFalse(phone.foreground.stayed())
    }

    @Test
    fun whileItMeasuresThePhoneStaysAwakeAndTheTabsWait() {
        val activity = open(2).get()
        val awake = android.view.WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
        phone.bench = ScriptedBench { _, _, _ ->
            assertTrue(activity.window.attributes.flags and awake != 0)
            assertFalse(activity.requireViewById<View>(R.id.tab_classify).isEnabled)
            assertEquals("Cancel", text(activity, R.id.start))
            activity.requireViewById<Button>(R.id.start).performClick()
            throw CancellationException()
        }
        activity.requireViewById<Button>(R.id.start).performClick()
        assertTrue((phone.bench as ScriptedBench).cancelled)
        assertTrue(activity.window.attributes.flags and awake == 0)
        assertTrue(activity.requireViewById<View>(R.id.tab_classify).isEnabled)
    }

    @Test
    fun resultsAreSharedAsAFileThatOthersMayOnlyRead() {
        val activity = open(2).get()
        phone.bench = ScriptedBench { subjects, session, _ -> subjects.map { imagined(it, session, 2.0) } }
        phone.benchmark.start()
        activity.requireViewById<Button>(R.id.share).performClick()
        @Suppress("DEPRECATION")
        val sent = shadowOf(activity).nextStartedActivity.getParcelableExtra<Intent>(Intent.EXTRA_INTENT)!!
        assertTrue(sent.flags and Intent.FLAG_GRANT_READ_URI_PERMISSION != 0)
        val provider = Robolectric.setupContentProvider(ResultsProvider::class.java)
        val size = provider.openFile(ResultsProvider.address, "r").use { it.statSize }
        assertEquals(ResultsProvider.file(phone)!!.length(), size)
        assertThrows(FileNotFoundException::class.java) { provider.openFile(ResultsProvider.address, "rw") }
        val other = Uri.parse("content://dev.edgekit.demo.results/..%2F..%2Fx")
        assertThrows(FileNotFoundException::class.java) { provider.openFile(other, "r") }
        provider.query(ResultsProvider.address, null, null, null, null).use {
            assertTrue(it.moveToFirst())
            assertEquals("results.jsonl", it.getString(0))
        }
    }

    @Test
    fun theBarsOfTheSystemCoverNothing() {
        val activity = open().get()
        val root = activity.requireViewById<View>(R.id.root)
        val insets = WindowInsets.Builder().setInsets(WindowInsets.Type.systemBars(), Insets.of(3, 60, 5, 90)).build()
        root.dispatchApplyWindowInsets(insets)
        assertEquals(listOf(3, 60, 5, 90), listOf(root.paddingLeft, root.paddingTop, root.paddingRight, root.paddingBottom))
    }

    @Test
    fun everythingThatCanBeTouchedIsLargeEnoughAndHasAName() = judge()

    @Test
    @Config(fontScale = 2f)
    fun everythingThatCanBeTouchedHasANameInLargeType() = judge()

    private fun judge() {
        val activity = open().get()
        for (screen in 0..2) {
            activity.show(screen)
            shadowOf(Looper.getMainLooper()).idle()
            val least = activity.resources.getDimensionPixelSize(R.dimen.touch)
            for (view in visible(activity.window.decorView).filter { it.isClickable }) {
                val name = view.contentDescription ?: (view as? TextView)?.text
                assertFalse("$view has no name", name.isNullOrBlank())
                assertTrue("$name: ${view.width} x ${view.height}", view.height >= least && view.width >= least)
            }
        }
    }

    private fun visible(view: View): List<View> = when {
        view.visibility != View.VISIBLE -> emptyList()
        view is ViewGroup -> (0 until view.childCount).flatMap { visible(view.getChildAt(it)) } + view
        else -> listOf(view)
    }

    @Test
    fun textStandsOutByDay() = contrasts()

    @Test
    @Config(qualifiers = "+night")
    fun textStandsOutByNight() = contrasts()

    /** WCAG 2.1, 1.4.3: 4.5 to 1. */
    private fun contrasts() {
        val grounds = listOf(R.color.background, R.color.surface)
        val pairs = listOf(R.color.text, R.color.text_quiet, R.color.accent, R.color.good, R.color.warn, R.color.bad)
            .flatMap { colour -> grounds.map { colour to it } } +
            listOf(R.color.on_accent to R.color.accent, R.color.on_accent_soft to R.color.accent_soft, R.color.text_quiet to R.color.surface_low)
        for ((colour, ground) in pairs) {
            val (light, dark) = listOf(colour, ground).map { luminance(phone.getColor(it)) }.sortedDescending()
            val contrast = (light + 0.05) / (dark + 0.05)
            assertTrue("${phone.resources.getResourceName(colour)} on ${phone.resources.getResourceName(ground)}: $contrast", contrast >= 4.5)
        }
    }

    private fun luminance(colour: Int): Double = android.graphics.Color.luminance(colour).toDouble()

    @Test
    fun corruptPicturesAreRefused() {
        for (content in listOf(ByteArray(0), "no picture".toByteArray(), cutPicture())) {
            assertThrows(Refusal::class.java) { PictureReader.decode(content) }
        }
    }

    private fun cutPicture(): ByteArray {
        val whole = ByteArrayOutputStream()
        Bitmap.createBitmap(64, 64, Bitmap.Config.ARGB_8888).compress(Bitmap.CompressFormat.PNG, 100, whole)
        return whole.toByteArray().copyOf(20)
    }

    @Test
    fun aPictureOfOnePixelsWidthIsRead() {
        val whole = ByteArrayOutputStream()
        Bitmap.createBitmap(1, 5000, Bitmap.Config.ARGB_8888).compress(Bitmap.CompressFormat.PNG, 100, whole)
        val picture = PictureReader.decode(whole.toByteArray())
        assertEquals(1 to 5000, picture.width to picture.height)
    }

    private fun asked(text: String?): Activity =
        Robolectric.buildActivity(BenchmarkActivity::class.java, Intent().putExtra("request", text)).setup().get()

    private fun answer(): String = File(phone.getExternalFilesDir("results"), "$ID.json").readText()

    private fun request(sha256: String): String {
        val protocol = """{"name":"short","warmup_s":0.01,"min_runs":3,"min_seconds":0.01,"max_runs":5,"seed":0,"rounds":1}"""
        val session = """{"protocol":$protocol,"threads":1,"meter":"none","cores":[]}"""
        return """{"id":"$ID","model":"${phone.pushed}/m.tflite","sha256":"$sha256","name":"m","session":$session}"""
    }

    @Test
    fun aComputersRequestIsMeasuredAndAnsweredInAFile() {
        val model = File(System.getProperty("models")!!).listFiles()!!.first()
        phone.pushed = phone.filesDir
        model.copyTo(File(phone.pushed, "m.tflite"))
        val sha256 = ArtifactReader.sha256(Headless.mapped(model))
        val activity = asked(request(sha256))
        shadowOf(Looper.getMainLooper()).idle()
        assertTrue(answer(), answer().contains("\"artifact_sha256\":\"$sha256\"") && answer().contains("latency_ns"))
        assertEquals("Done", text(activity, R.id.title))
        asked(request("0".repeat(64)))
        assertTrue(answer(), answer().startsWith("{\"error\"") && answer().contains("another file"))
    }

    @Test
    fun aRequestThatIsNoneIsSaidOnTheScreen() {
        for (text in listOf(null, "", "{}", "{\"id\": \"../x\"}")) {
            assertTrue(text(asked(text), R.id.title).contains("no request"))
        }
        assertEquals(0, phone.getExternalFilesDir("results")!!.list()!!.size)
    }

    private companion object {
        val ID = "0123456789abcdef".repeat(2)
    }
}
