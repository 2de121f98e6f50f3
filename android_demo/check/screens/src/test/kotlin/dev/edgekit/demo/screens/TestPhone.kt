package dev.edgekit.demo.screens

import android.graphics.SurfaceTexture
import dev.edgekit.demo.DemoApplication
import dev.edgekit.demo.bench.Answers
import dev.edgekit.demo.bench.BatteryReading
import dev.edgekit.demo.bench.Headless
import dev.edgekit.demo.bench.Machine
import dev.edgekit.demo.bench.Progress
import dev.edgekit.demo.bench.Subject
import dev.edgekit.demo.inference.DesktopRuntime
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.record.Fingerprint
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.State
import dev.edgekit.demo.ui.Bench
import dev.edgekit.demo.ui.CameraEvents
import dev.edgekit.demo.ui.CameraFeed
import org.junit.runners.model.FrameworkMethod
import org.robolectric.RobolectricTestRunner
import org.robolectric.internal.bytecode.InstrumentationConfiguration
import java.io.File
import java.util.concurrent.Executor

/** The app with a desktop's runtime, a camera that tests hold, and no second thread: each step is done when it returns. */
class TestPhone : DemoApplication() {
    override val worker = Executor { it.run() }
    override val measuring = Executor { it.run() }
    override val main = Executor { it.run() }
    override val runtime: Runtime get() = DesktopRuntime
    override val machine: Machine = QuietMachine
    override val camera = HeldCamera()

    /** What measures instead of the real runner, where a test sets it. */
    var bench: Bench? = null

    /** Where computers put models. */
    var pushed: File = File("/nowhere")

    override fun bench(): Bench = bench ?: super.bench()

    override fun headless(answers: Answers) = Headless(runtime, machine, answers, folder = pushed.path)
}

/** A camera whose troubles tests tell. */
class HeldCamera : CameraFeed {
    var events: CameraEvents? = null

    override fun start(preview: SurfaceTexture, events: CameraEvents) {
        this.events = events
    }

    override fun stop() {
        events = null
    }
}

/** A phone that is cool and plugged in. */
object QuietMachine : Machine {
    override val name = "Test phone"

    override fun fingerprint(runtime: String, runtimeVersion: String) =
        Fingerprint("Test phone", null, 8, "arm64-v8a", "Android 15", runtime, runtimeVersion)

    override fun state(sinceNs: Long) = State(
        atS = (System.nanoTime() - sinceNs) / 1e9,
        clockOffsetNs = 0,
        frequencyKhz = 2_300_000,
        powerSource = "mains",
        thermalStatus = 0,
        thermalHeadroom = 0.42,
        foreground = true,
        powerSave = false,
    )

    override fun battery(): BatteryReading? = null
}

/** Says what it is told to, without measuring. */
class ScriptedBench(private val script: (List<Subject>, Session, Progress) -> List<Measurement>) : Bench {
    var cancelled = false

    override fun measure(subjects: List<Subject>, session: Session, progress: Progress) =
        script(subjects, session, progress)

    override fun cancel() {
        cancelled = true
    }
}

/** Keeps the native runtime outside of Robolectric's sandboxes: a library can be loaded once only. */
class PhoneTestRunner(tested: Class<*>) : RobolectricTestRunner(tested) {
    override fun createClassLoaderConfig(method: FrameworkMethod): InstrumentationConfiguration =
        InstrumentationConfiguration.Builder(super.createClassLoaderConfig(method))
            .doNotAcquirePackage("org.bytedeco")
            .doNotAcquirePackage("com.sun.jna")
            .build()
}
