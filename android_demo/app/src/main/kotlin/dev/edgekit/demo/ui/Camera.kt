package dev.edgekit.demo.ui

import android.annotation.SuppressLint
import android.annotation.TargetApi
import android.content.Context
import android.graphics.ImageFormat
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraCaptureSession
import android.hardware.camera2.CameraCharacteristics
import android.hardware.camera2.CameraDevice
import android.hardware.camera2.CameraManager
import android.hardware.camera2.params.OutputConfiguration
import android.hardware.camera2.params.SessionConfiguration
import android.media.Image
import android.media.ImageReader
import android.os.Build
import android.os.Handler
import android.os.HandlerThread
import android.view.Surface
import java.util.concurrent.Executor

/** What a camera tells its screen, on the camera's own thread. */
interface CameraEvents {
    /** The picture's size, and how far the sensor is turned from the phone's natural position. */
    fun opened(width: Int, height: Int, sensorDegrees: Int, front: Boolean)

    /** There will be no pictures, and why. */
    fun failed(obstacle: Obstacle)

    /** A new frame can be had; [newest] gives it and drops those before it. */
    fun frame(newest: () -> Image?)
}

/** A stream of pictures: [Camera2Feed] on a phone. Called on the main thread; the permission is there already. */
interface CameraFeed {
    fun start(preview: SurfaceTexture, events: CameraEvents)
    fun stop()
}

/** The phone's back camera, or any other where there is none, by Camera2. */
class Camera2Feed(context: Context, private val worker: Executor) : CameraFeed {
    private val cameras = context.getSystemService(CameraManager::class.java)
    private val lock = Any()
    private var thread: HandlerThread? = null
    private var device: CameraDevice? = null
    private var reader: ImageReader? = null
    private var surface: Surface? = null
    private var round = 0

    @SuppressLint("MissingPermission")
    override fun start(preview: SurfaceTexture, events: CameraEvents) {
        stop()
        val own = HandlerThread("camera").apply { start() }
        thread = own
        val handler = Handler(own.looper)
        try {
            val id = chosen() ?: return events.failed(Obstacle.NONE_IN_PHONE)
            val facts = cameras.getCameraCharacteristics(id)
            val (width, height) = size(facts) ?: return events.failed(Obstacle.FAILED)
            preview.setDefaultBufferSize(width, height)
            val frames = ImageReader.newInstance(width, height, ImageFormat.YUV_420_888, IMAGES)
            frames.setOnImageAvailableListener({ events.frame { newest(it) } }, handler)
            reader = frames
            surface = Surface(preview)
            val front = facts[CameraCharacteristics.LENS_FACING] == CameraCharacteristics.LENS_FACING_FRONT
            events.opened(width, height, facts[CameraCharacteristics.SENSOR_ORIENTATION] ?: 0, front)
            cameras.openCamera(id, Opening(synchronized(lock) { ++round }, events, handler), handler)
        } catch (error: CameraAccessException) {
            events.failed(obstacle(error.reason))
        } catch (_: SecurityException) {
            events.failed(Obstacle.REFUSED)
        } catch (_: IllegalArgumentException) {
            events.failed(Obstacle.FAILED)
        }
    }

    override fun stop() {
        synchronized(lock) {
            round++
            device?.close()
            device = null
        }
        // A frame may still be worked on; its memory goes with the reader.
        reader?.let { worker.execute(it::close) }
        reader = null
        surface?.release()
        surface = null
        thread?.quitSafely()
        thread = null
    }

    private fun chosen(): String? {
        val ids = cameras.cameraIdList
        return ids.firstOrNull {
            cameras.getCameraCharacteristics(it)[CameraCharacteristics.LENS_FACING] ==
                CameraCharacteristics.LENS_FACING_BACK
        } ?: ids.firstOrNull()
    }

    private fun size(facts: CameraCharacteristics): Pair<Int, Int>? {
        val map = facts[CameraCharacteristics.SCALER_STREAM_CONFIGURATION_MAP] ?: return null
        val sizes = map.getOutputSizes(ImageFormat.YUV_420_888).orEmpty().map { it.width to it.height }
        return Viewfinder.choose(sizes, LEAST_SIDE)
    }

    /** A frame of a reader that is closed meanwhile is no frame. */
    private fun newest(reader: ImageReader): Image? =
        try {
            reader.acquireLatestImage()
        } catch (_: IllegalStateException) {
            null
        }

    private inner class Opening(
        private val mine: Int,
        private val events: CameraEvents,
        private val handler: Handler,
    ) : CameraDevice.StateCallback() {
        override fun onOpened(camera: CameraDevice) {
            synchronized(lock) {
                if (mine != round) return camera.close()
                device = camera
            }
            val targets = listOfNotNull(surface, reader?.surface)
            try {
                configure(camera, targets, Streaming(camera, targets, events, handler), handler)
            } catch (error: CameraAccessException) {
                events.failed(obstacle(error.reason))
            } catch (_: IllegalStateException) {
                events.failed(Obstacle.FAILED)
            } catch (_: IllegalArgumentException) {
                events.failed(Obstacle.FAILED)
            }
        }

        override fun onDisconnected(camera: CameraDevice) {
            camera.close()
            if (mine == round) events.failed(Obstacle.HELD_BY_ANOTHER_APP)
        }

        override fun onError(camera: CameraDevice, error: Int) {
            camera.close()
            if (mine == round) events.failed(if (error in HELD) Obstacle.HELD_BY_ANOTHER_APP else Obstacle.FAILED)
        }
    }

    private fun configure(
        camera: CameraDevice,
        targets: List<Surface>,
        callback: CameraCaptureSession.StateCallback,
        handler: Handler,
    ) {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.P) {
            @Suppress("DEPRECATION")
            return camera.createCaptureSession(targets, callback, handler)
        }
        configureAtOnce(camera, targets, callback, handler)
    }

    @TargetApi(Build.VERSION_CODES.P)
    private fun configureAtOnce(
        camera: CameraDevice,
        targets: List<Surface>,
        callback: CameraCaptureSession.StateCallback,
        handler: Handler,
    ) {
        val outputs = targets.map { OutputConfiguration(it) }
        val onHandler = Executor { handler.post(it) }
        val session = SessionConfiguration(SessionConfiguration.SESSION_REGULAR, outputs, onHandler, callback)
        camera.createCaptureSession(session)
    }

    private class Streaming(
        private val camera: CameraDevice,
        private val targets: List<Surface>,
        private val events: CameraEvents,
        private val handler: Handler,
    ) : CameraCaptureSession.StateCallback() {
        override fun onConfigured(session: CameraCaptureSession) {
            try {
                val request = camera.createCaptureRequest(CameraDevice.TEMPLATE_PREVIEW)
                targets.forEach { request.addTarget(it) }
                session.setRepeatingRequest(request.build(), null, handler)
            } catch (error: CameraAccessException) {
                events.failed(obstacle(error.reason))
            } catch (_: IllegalStateException) {
                // The screen was left while the camera opened.
            }
        }

        override fun onConfigureFailed(session: CameraCaptureSession) = events.failed(Obstacle.FAILED)
    }

    private companion object {
        /** One that is worked on, one that is newest. */
        const val IMAGES = 3
        const val LEAST_SIDE = 480
        val HELD = setOf(
            CameraDevice.StateCallback.ERROR_CAMERA_IN_USE,
            CameraDevice.StateCallback.ERROR_MAX_CAMERAS_IN_USE,
        )

        fun obstacle(reason: Int): Obstacle = when (reason) {
            CameraAccessException.CAMERA_IN_USE, CameraAccessException.MAX_CAMERAS_IN_USE ->
                Obstacle.HELD_BY_ANOTHER_APP
            CameraAccessException.CAMERA_DISABLED -> Obstacle.REFUSED_FOR_GOOD
            else -> Obstacle.FAILED
        }
    }
}
