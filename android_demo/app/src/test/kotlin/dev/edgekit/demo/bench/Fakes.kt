package dev.edgekit.demo.bench

import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.inference.Classifier
import dev.edgekit.demo.inference.ElementType
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.inference.TensorInfo
import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.Card
import dev.edgekit.demo.record.Delegation
import dev.edgekit.demo.record.Fingerprint
import dev.edgekit.demo.record.InputSpec
import dev.edgekit.demo.record.OutputKind
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.State
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** A clock that moves when somebody works or sleeps; each look at it takes 0.1 ms, so that nothing waits for ever. */
internal class FakeClock : Clock {
    var nowNs = 0L

    override fun nanos(): Long {
        nowNs += 100_000
        return nowNs
    }

    override fun wallNanos(): Long = nowNs

    override fun sleep(milliseconds: Long) {
        nowNs += milliseconds * 1_000_000
    }
}

/** A machine that stays as it is, but for what a test changes. */
internal open class FakeMachine(private val clock: Clock, private val foreground: Foreground = Foreground()) : Machine {
    override val name = "Test phone (SoC)"

    override fun fingerprint(runtime: String, runtimeVersion: String) =
        Fingerprint("Test phone", "SoC", 8, "arm64-v8a", "Android 15, build", runtime, runtimeVersion)

    override fun state(sinceNs: Long) =
        State(atS = (clock.nanos() - sinceNs) / 1e9, clockOffsetNs = 0, foreground = foreground.stayed())

    override fun battery(): BatteryReading? = null
}

/** A runtime whose inferences take [inferenceNs] of a fake clock, and whose GPU may be missing. */
internal class FakeRuntime(private val clock: FakeClock, private val gpu: Boolean = false) : Runtime {
    override val name = "fake"
    override val version = "1"
    var inferenceNs: (Int) -> Long = { 5_000_000 }
    var opened = 0
    var closed = 0
    var runs = 0

    override fun open(model: ByteBuffer, threads: Int, accelerator: Accelerator): Classifier {
        if (accelerator == Accelerator.GPU && !gpu) throw Refusal("there is no GPU; use the CPU")
        opened++
        clock.nowNs += 20_000_000
        return FakeClassifier()
    }

    private inner class FakeClassifier : Classifier {
        override val input = TensorInfo(listOf(1, 4, 4, 3), ElementType.INT8, 1f, -128)
        override val output = TensorInfo(listOf(1, 2), ElementType.INT8, 1f, 0)
        override val inputBuffer: ByteBuffer = ByteBuffer.allocateDirect(48).order(ByteOrder.nativeOrder())
        override val outputBuffer: ByteBuffer = ByteBuffer.allocateDirect(2).order(ByteOrder.nativeOrder())
        override val delegation = Delegation("fake", 0, 0)

        override fun run(): Long {
            val ns = inferenceNs(runs++)
            clock.nowNs += ns
            return ns
        }

        override fun close() {
            closed++
        }
    }
}

internal fun fakeArtifact(name: String = "net") = Artifact(
    name = name,
    sha256 = "0".repeat(64),
    sizeBytes = 100,
    card = Card(name, 2, InputSpec(4, 4, 4), "int8", OutputKind.PROBABILITIES, "random"),
    labels = emptyList(),
    golden = null,
)

internal object Silent : Progress
