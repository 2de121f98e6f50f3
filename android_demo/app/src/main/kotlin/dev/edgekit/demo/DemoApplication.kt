package dev.edgekit.demo

import android.app.Activity
import android.app.Application
import android.os.Bundle
import android.os.Handler
import android.os.Looper
import dev.edgekit.demo.bench.AndroidMachine
import dev.edgekit.demo.bench.Answers
import dev.edgekit.demo.bench.Foreground
import dev.edgekit.demo.bench.Headless
import dev.edgekit.demo.bench.Machine
import dev.edgekit.demo.bench.Runner
import dev.edgekit.demo.inference.LiteRt
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.ui.AssetModels
import dev.edgekit.demo.ui.Bench
import dev.edgekit.demo.ui.BenchmarkPresenter
import dev.edgekit.demo.ui.Camera2Feed
import dev.edgekit.demo.ui.CameraFeed
import dev.edgekit.demo.ui.ClassifyPresenter
import dev.edgekit.demo.ui.FolderModels
import dev.edgekit.demo.ui.Library
import dev.edgekit.demo.ui.ModelSource
import dev.edgekit.demo.ui.Origin
import dev.edgekit.demo.ui.ResultsProvider
import java.io.File
import java.util.concurrent.Executor
import java.util.concurrent.Executors

/** Puts the parts of the app together, once; tests put in others by overriding. */
open class DemoApplication : Application() {
    /** Does what takes long, one after the other; everything that touches a classifier in live mode. */
    open val worker: Executor by lazy { Executors.newSingleThreadExecutor() }

    /** Measures, so that a long run holds up nothing else. */
    open val measuring: Executor by lazy { Executors.newSingleThreadExecutor() }

    open val main: Executor by lazy {
        val handler = Handler(Looper.getMainLooper())
        Executor { handler.post(it) }
    }

    open val runtime: Runtime get() = LiteRt
    open val machine: Machine by lazy { AndroidMachine(this, foreground) }
    open val camera: CameraFeed by lazy { Camera2Feed(this, worker) }

    val foreground = Foreground()

    val library by lazy {
        Library(sources(), opened(), runtime, worker, main)
    }

    val classify by lazy { ClassifyPresenter(library, runtime, worker, main) }

    val benchmark by lazy {
        val results = ResultsProvider.file(this) ?: File(filesDir, "results.jsonl")
        val cores = java.lang.Runtime.getRuntime().availableProcessors()
        BenchmarkPresenter(library, ::bench, machine, results, measuring, main, cores)
    }

    /** What answers one request of a computer. */
    open fun headless(answers: Answers) = Headless(runtime, machine, answers)

    /** What measures one session. */
    open fun bench(): Bench = Bench.of(Runner(runtime, machine))

    protected open fun sources(): List<ModelSource> = listOf(
        AssetModels(assets),
        FolderModels(opened(), Origin.OPENED),
        FolderModels(getExternalFilesDir("models"), Origin.PUSHED),
    )

    override fun onCreate() {
        super.onCreate()
        registerActivityLifecycleCallbacks(Watch())
    }

    private fun opened() = File(filesDir, "models")

    /** Tells [foreground] when the last activity leaves the screen; turning the phone is not leaving. */
    private inner class Watch : ActivityLifecycleCallbacks {
        private var started = 0

        override fun onActivityStarted(activity: Activity) {
            if (started++ == 0) foreground.enter()
        }

        override fun onActivityStopped(activity: Activity) {
            if (--started == 0 && !activity.isChangingConfigurations) foreground.leave()
        }

        override fun onActivityCreated(activity: Activity, state: Bundle?) = Unit
        override fun onActivityResumed(activity: Activity) = Unit
        override fun onActivityPaused(activity: Activity) = Unit
        override fun onActivitySaveInstanceState(activity: Activity, state: Bundle) = Unit
        override fun onActivityDestroyed(activity: Activity) = Unit
    }
}
