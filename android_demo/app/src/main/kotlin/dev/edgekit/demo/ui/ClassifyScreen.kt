package dev.edgekit.demo.ui

import android.Manifest
import android.app.Activity
import android.app.AlertDialog
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.graphics.Matrix
import android.graphics.SurfaceTexture
import android.hardware.display.DisplayManager
import android.media.Image
import android.net.Uri
import android.os.Build
import android.provider.MediaStore
import android.provider.Settings
import android.view.Display
import android.view.LayoutInflater
import android.view.Surface
import android.view.TextureView
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.ImageView
import android.widget.ProgressBar
import android.widget.TextView
import dev.edgekit.demo.R
import dev.edgekit.demo.inference.Orientation
import dev.edgekit.demo.inference.YuvFrame

/** The camera or a picture above, what the model makes of it below. */
class ClassifyScreen(
    private val activity: Activity,
    private val presenter: ClassifyPresenter,
    private val feed: CameraFeed,
) : Screen, TextureView.SurfaceTextureListener, DisplayManager.DisplayListener {
    override val view: View = LayoutInflater.from(activity).inflate(R.layout.classify, null)

    private val displays = activity.getSystemService(DisplayManager::class.java)
    private val preview = view.findViewById<TextureView>(R.id.preview)
    private val picture = view.findViewById<ImageView>(R.id.picture)
    private val model = view.findViewById<Button>(R.id.model)
    private val live = view.findViewById<Button>(R.id.live)
    private val best = view.findViewById<TextView>(R.id.best)
    private val guesses = view.findViewById<ViewGroup>(R.id.guesses)
    private val stages = view.findViewById<ViewGroup>(R.id.stages)
    private val remark = view.findViewById<TextView>(R.id.remark)

    private val frame = YuvFrame()
    private var started = false
    private var opened: Opened? = null
    private var surface: SurfaceTexture? = null

    @Volatile
    private var turn = Orientation.UPRIGHT

    private class Opened(val width: Int, val height: Int, val sensorDegrees: Int, val front: Boolean)

    init {
        preview.surfaceTextureListener = this
        model.setOnClickListener { chooseModel() }
        live.setOnClickListener { goLive() }
        view.findViewById<View>(R.id.source).setOnClickListener { openPicture() }
        addStages()
    }

    override fun start() {
        started = true
        displays.registerDisplayListener(this, null)
        presenter.attach(::render)
        if (picture.drawable == null) presenter.revisit(::showPicture)
        look()
    }

    override fun stop() {
        started = false
        displays.unregisterDisplayListener(this)
        feed.stop()
        presenter.detach()
    }

    override fun permission(granted: Boolean) {
        if (granted) return look()
        val again = activity.shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)
        presenter.obstacle(if (again) Obstacle.REFUSED else Obstacle.REFUSED_FOR_GOOD)
    }

    override fun result(request: Int, answer: Intent) {
        val uri = answer.data ?: return
        feed.stop()
        presenter.picture {
            PictureReader.read(activity.contentResolver, uri).also { showPicture(it) }
        }
    }

    /** From any thread. */
    private fun showPicture(shown: Picture) {
        val small = Thumbnail.of(shown)
        picture.post { picture.setImageBitmap(small) }
    }

    /** Starts the camera if it may be used and there is something to show it on. */
    private fun look() {
        if (!started || !presenter.state.live) return
        if (activity.checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) {
            val refused = activity.shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)
            if (presenter.state.obstacle != Obstacle.REFUSED_FOR_GOOD) {
                presenter.obstacle(if (refused) Obstacle.REFUSED else Obstacle.ASK_FIRST)
            }
            return
        }
        presenter.obstacle(null)
        surface?.let { feed.start(it, Events()) }
    }

    private fun goLive() {
        presenter.goLive()
        picture.setImageBitmap(null)
        look()
    }

    private fun openPicture() {
        val pick = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) Intent(MediaStore.ACTION_PICK_IMAGES)
        else document()
        if (!launch(pick) && !launch(document())) remark.say(activity.getString(R.string.no_gallery))
    }

    private fun document() = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")

    private fun launch(intent: Intent): Boolean =
        try {
            activity.startActivityForResult(intent, PICTURE)
            true
        } catch (_: ActivityNotFoundException) {
            false
        }

    private fun chooseModel() {
        val names = presenter.state.models.toTypedArray()
        if (names.isEmpty()) return
        AlertDialog.Builder(activity)
            .setTitle(R.string.choose_model)
            .setSingleChoiceItems(names, presenter.state.chosen) { dialog, number ->
                presenter.choose(number)
                dialog.dismiss()
            }
            .show()
    }

    private fun render(state: ClassifyState) {
        val name = state.models.getOrNull(state.chosen)
        model.visibility = if (name == null) View.GONE else View.VISIBLE
        model.say(name.orEmpty())
        model.contentDescription = activity.getString(R.string.model_chosen, name.orEmpty())
        preview.visibility = if (state.live && state.obstacle == null) View.VISIBLE else View.INVISIBLE
        picture.visibility = if (state.live) View.GONE else View.VISIBLE
        live.visibility = picture.visibility
        showNotice(if (state.live) state.obstacle else null)
        best.say(headline(state))
        best.setTextColor(activity.getColor(if (state.error == null) R.color.text else R.color.bad))
        showGuesses(state.guesses)
        showStages(state.stages)
        remark.sayOrHide(remark(state))
    }

    private fun headline(state: ClassifyState): String = when {
        state.error != null -> state.error
        state.guesses.isNotEmpty() -> state.guesses[0].label
        state.models.isEmpty() -> activity.getString(R.string.no_models)
        state.live -> activity.getString(R.string.waiting)
        else -> activity.getString(R.string.working)
    }

    private fun remark(state: ClassifyState): String? = when {
        state.stages == null -> null
        state.live -> activity.getString(R.string.remark_live, state.dropped)
        else -> activity.getString(R.string.remark_picture)
    }

    private fun showGuesses(shown: List<Guess>) {
        guesses.rows(shown.size, R.layout.guess)
        shown.forEachIndexed { at, guess ->
            val row = guesses.getChildAt(at)
            val share = Figures.percent(guess.probability)
            row.findViewById<TextView>(R.id.label).say(guess.label)
            row.findViewById<TextView>(R.id.share).say(share)
            row.findViewById<ProgressBar>(R.id.bar).progress = (guess.probability * 1000).toInt()
            row.contentDescription = activity.getString(R.string.guess_spoken, guess.label, share)
        }
    }

    private fun addStages() {
        stages.rows(STAGES.size, R.layout.stage)
        STAGES.forEachIndexed { at, name -> stages.getChildAt(at).findViewById<TextView>(R.id.name).setText(name) }
    }

    private fun showStages(times: Stages?) {
        stages.visibility = if (times == null) View.GONE else View.VISIBLE
        if (times == null) return
        listOf(times.preprocessNs, times.inferenceNs, times.postprocessNs).forEachIndexed { at, time ->
            val stage = stages.getChildAt(at)
            val value = Figures.milliseconds(time)
            stage.findViewById<TextView>(R.id.value).say(value)
            stage.contentDescription =
                activity.getString(R.string.stage_spoken, value, activity.getString(STAGES[at]))
        }
    }

    private fun showNotice(obstacle: Obstacle?) {
        val notice = view.findViewById<View>(R.id.notice)
        notice.visibility = if (obstacle == null) View.GONE else View.VISIBLE
        if (obstacle == null) return
        val (text, action) = NOTICES.getValue(obstacle)
        view.findViewById<TextView>(R.id.notice_text).say(activity.getString(text))
        val button = view.findViewById<Button>(R.id.notice_action)
        button.sayOrHide(action?.let { activity.getString(it) })
        button.setOnClickListener { overcome(obstacle) }
    }

    private fun overcome(obstacle: Obstacle) = when (obstacle) {
        Obstacle.ASK_FIRST, Obstacle.REFUSED ->
            activity.requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA)
        Obstacle.REFUSED_FOR_GOOD -> activity.startActivity(
            Intent(Settings.ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", activity.packageName, null)),
        )
        else -> look()
    }

    /** The camera speaks on its own thread. */
    private inner class Events : CameraEvents {
        override fun opened(width: Int, height: Int, sensorDegrees: Int, front: Boolean) {
            view.post {
                opened = Opened(width, height, sensorDegrees, front)
                turnPreview()
            }
        }

        override fun failed(obstacle: Obstacle) {
            view.post { if (started) presenter.obstacle(obstacle) }
        }

        override fun frame(newest: () -> Image?) = presenter.gate.offer(newest) { classify(it) }
    }

    private fun classify(image: Image) {
        val (luma, u, v) = image.planes
        frame.width = image.width
        frame.height = image.height
        frame.y = luma.buffer
        frame.u = u.buffer
        frame.v = v.buffer
        frame.yRowStride = luma.rowStride
        frame.chromaRowStride = u.rowStride
        frame.chromaPixelStride = u.pixelStride
        presenter.frame(frame, turn)
    }

    private fun turnPreview() {
        val camera = opened ?: return
        val degrees = displayDegrees()
        turn = Orientation.ofDegrees(Viewfinder.frameDegrees(camera.sensorDegrees, degrees, camera.front))
        if (preview.width == 0 || preview.height == 0) return
        val fit = Viewfinder.fill(
            preview.width, preview.height, camera.width, camera.height, camera.sensorDegrees, degrees,
        )
        val matrix = Matrix()
        matrix.postScale(fit.scaleX, fit.scaleY, preview.width / 2f, preview.height / 2f)
        matrix.postRotate(fit.degrees, preview.width / 2f, preview.height / 2f)
        preview.setTransform(matrix)
    }

    private fun displayDegrees(): Int = when (displays.getDisplay(Display.DEFAULT_DISPLAY)?.rotation) {
        Surface.ROTATION_90 -> 90
        Surface.ROTATION_180 -> 180
        Surface.ROTATION_270 -> 270
        else -> 0
    }

    override fun onSurfaceTextureAvailable(surface: SurfaceTexture, width: Int, height: Int) {
        this.surface = surface
        look()
    }

    override fun onSurfaceTextureSizeChanged(surface: SurfaceTexture, width: Int, height: Int) = turnPreview()

    override fun onSurfaceTextureUpdated(surface: SurfaceTexture) = Unit

    override fun onSurfaceTextureDestroyed(surface: SurfaceTexture): Boolean {
        this.surface = null
        feed.stop()
        return true
    }

    /** From one landscape to the other there is no new activity, only this. */
    override fun onDisplayChanged(display: Int) = turnPreview()

    override fun onDisplayAdded(display: Int) = Unit

    override fun onDisplayRemoved(display: Int) = Unit

    private companion object {
        const val PICTURE = 1
        const val CAMERA = 2
        val STAGES = listOf(R.string.stage_pre, R.string.stage_model, R.string.stage_post)
        val NOTICES = mapOf(
            Obstacle.ASK_FIRST to (R.string.camera_why to R.string.camera_allow),
            Obstacle.REFUSED to (R.string.camera_refused to R.string.camera_ask_again),
            Obstacle.REFUSED_FOR_GOOD to (R.string.camera_refused to R.string.camera_settings),
            Obstacle.HELD_BY_ANOTHER_APP to (R.string.camera_held to R.string.try_again),
            Obstacle.NONE_IN_PHONE to (R.string.camera_none to null),
            Obstacle.FAILED to (R.string.camera_failed to R.string.try_again),
        )
    }
}

/** Brings a group to so many rows of one layout, keeping those that are there. */
fun ViewGroup.rows(count: Int, layout: Int) {
    while (childCount > count) removeViewAt(childCount - 1)
    while (childCount < count) LayoutInflater.from(context).inflate(layout, this, true)
}
