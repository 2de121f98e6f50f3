package dev.edgekit.demo

import dev.edgekit.demo.bench.Foreground
import dev.edgekit.demo.bench.Machine
import dev.edgekit.demo.bench.BatteryReading
import dev.edgekit.demo.bench.Protocols
import dev.edgekit.demo.bench.Progress
import dev.edgekit.demo.bench.Runner
import dev.edgekit.demo.bench.Subject
import dev.edgekit.demo.bench.fakeArtifact
import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.inference.Classifier
import dev.edgekit.demo.inference.DesktopRuntime
import dev.edgekit.demo.inference.ElementType
import dev.edgekit.demo.inference.Orientation
import dev.edgekit.demo.inference.Preprocessor
import dev.edgekit.demo.inference.Recognizer
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.inference.TensorInfo
import dev.edgekit.demo.record.Delegation
import dev.edgekit.demo.record.Fingerprint
import dev.edgekit.demo.record.InputSpec
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.State
import org.junit.Test
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs

/**
 * Figures for the documentation, not tests: they have no limits, and no name by which Maven runs them.
 *
 *     mvn -f android_demo/check/pom.xml test -Dtest=Benchmarks -Dedgekit.expected=...
 */
class Benchmarks {
    /** A photo of 12 megapixels to 224 x 224 int8, on this thread: processor time, which other processes do not add to. */
    @Test
    fun photo() {
        val spec = InputSpec(224, 224, 256)
        val tensor = TensorInfo(listOf(1, 224, 224, 3), ElementType.INT8, 1f, -128)
        val preprocessor = Preprocessor(spec, tensor)
        val target = ByteBuffer.allocateDirect(tensor.bytes)
        val pixels = noise(4000, 3000)
        for (orientation in listOf(Orientation.UPRIGHT, Orientation.ROTATED_90)) {
            val cpu = cpuMs(60) { preprocessor.argb(pixels, 4000, 3000, orientation, target) }
            println("4000 x 3000 to 224 x 224 int8, $orientation: %.1f ms of processor time (least %.1f)".format(cpu.first, cpu.second))
        }
    }

    /** Median and least of the later half of so many turns. */
    private fun cpuMs(turns: Int, work: () -> Unit): Pair<Double, Double> {
        val threads = ManagementFactory.getThreadMXBean()
        val times = List(turns) {
            val before = threads.currentThreadCpuTime
            work()
            (threads.currentThreadCpuTime - before) / 1e6
        }.drop(turns / 2).sorted()
        return times[times.size / 2] to times.first()
    }

    /** What the runner's loop adds to a model of 5 ms: processor time that is not the model's, per inference. */
    @Test
    fun runner() {
        val runtime = SpinningRuntime(5_000_000)
        val subject = Subject(fakeArtifact(), ByteBuffer.allocateDirect(1))
        val session = Session(Protocols.QUICK.copy(minRuns = 400, rounds = 1))
        val shares = ArrayList<Double>()
        val progress = object : Progress {
            override fun slice(subject: Int, latencyNs: LongArray, state: State) {
                val end = runtime.lastEndNs
                val start = runtime.startsNs[runtime.startsNs.size - latencyNs.size]
                shares += (end - start).toDouble() / latencyNs.sum() - 1
            }
        }
        repeat(3) { Runner(runtime, IdleMachine).measure(listOf(subject), session, progress) }
        println("the runner adds ${shares.joinToString { "%.4f %%".format(it * 100) }} to a model of 5 ms")
    }

    /** Android's createScaledBitmap with filter looks at 2 x 2 pixels wherever it shrinks; Pillow at all of them. */
    @Test
    fun scaling() {
        val answers = Expected.objects("answers").filter { it.text("model").endsWith("int8_fast") }
        for (answer in answers) {
            val name = answer.text("model")
            val recognizer = Recognizer(Expected.artifact(name), DesktopRuntime.open(Expected.model(name), 1), top = 5)
            var differing = 0L
            var sum = 0L
            var same = 0
            Expected.objects("images").forEachIndexed { number, image ->
                val pixels = Expected.image(number)
                recognizer.argb(pixels, image.int("width"), image.int("height"), Orientation.UPRIGHT)
                val wanted = recognizer.seen().copyOf()
                val first = recognizer.ranking.classes[0]
                val plain = plainCrop(pixels, image.int("width"), image.int("height"), recognizer.artifact.card.input)
                recognizer.cropped(plain)
                if (recognizer.ranking.classes[0] == first) same++
                for (at in wanted.indices) {
                    for (shift in intArrayOf(0, 8, 16)) {
                        val steps = abs((wanted[at] ushr shift and 255) - (plain[at] ushr shift and 255))
                        sum += steps
                        if (steps > 2) differing++
                    }
                }
            }
            val values = 100.0 * recognizer.seen().size * 3
            println("$name, scaled without antialiasing: %.1f %% of values differ by more than 2, %.2f on the mean; the same class first on $same of 100".format(100 * differing / values, sum / values))
        }
    }

    /** A crop is its own picture of the network's size where nothing is cut off. */
    private fun Recognizer.cropped(pixels: IntArray) {
        val spec = artifact.card.input
        val whole = spec.copy(resizeShorter = minOf(spec.width, spec.height))
        Preprocessor(whole, classifier.input).argb(pixels, spec.width, spec.height, Orientation.UPRIGHT, classifier.inputBuffer)
        classifier.run()
        dev.edgekit.demo.inference.Postprocessor(classifier.output, artifact.card.output).rank(classifier.outputBuffer, ranking)
    }

    /** Bilinear between the four pixels around each centre, as a texture is sampled. */
    private fun plainCrop(pixels: IntArray, width: Int, height: Int, spec: InputSpec): IntArray {
        val shorter = minOf(width, height)
        val scaledWidth = Math.rint(spec.resizeShorter * width / shorter.toDouble()).toInt()
        val scaledHeight = Math.rint(spec.resizeShorter * height / shorter.toDouble()).toInt()
        return IntArray(spec.width * spec.height) {
            val x = it % spec.width + (scaledWidth - spec.width) / 2
            val y = it / spec.width + (scaledHeight - spec.height) / 2
            sample(pixels, width, height, (x + 0.5) * width / scaledWidth - 0.5, (y + 0.5) * height / scaledHeight - 0.5)
        }
    }

    private fun sample(pixels: IntArray, width: Int, height: Int, x: Double, y: Double): Int {
        val left = Math.floor(x).toInt()
        val top = Math.floor(y).toInt()
        var packed = 0
        for (shift in intArrayOf(16, 8, 0)) {
            fun at(column: Int, row: Int): Int =
                pixels[row.coerceIn(0, height - 1) * width + column.coerceIn(0, width - 1)] ushr shift and 255
            val above = at(left, top) + (x - left) * (at(left + 1, top) - at(left, top))
            val below = at(left, top + 1) + (x - left) * (at(left + 1, top + 1) - at(left, top + 1))
            packed = packed or (Math.rint(above + (y - top) * (below - above)).toInt() shl shift)
        }
        return packed
    }
}

private object IdleMachine : Machine {
    override val name = "this JVM"
    private val foreground = Foreground()

    override fun fingerprint(runtime: String, runtimeVersion: String) =
        Fingerprint(null, null, 2, "x86_64", "Linux", runtime, runtimeVersion)

    override fun state(sinceNs: Long) = State((System.nanoTime() - sinceNs) / 1e9, 0, foreground = foreground.stayed())

    override fun battery(): BatteryReading? = null
}

/** A model that keeps the processor busy for as long as it is told, and remembers when. */
private class SpinningRuntime(private val runNs: Long) : Runtime {
    override val name = "spinning"
    override val version = "1"
    val startsNs = ArrayList<Long>(100_000)
    var lastEndNs = 0L

    override fun open(model: ByteBuffer, threads: Int, accelerator: Accelerator): Classifier = object : Classifier {
        override val input = TensorInfo(listOf(1, 1, 1, 3), ElementType.INT8, 1f, 0)
        override val output = TensorInfo(listOf(1, 1), ElementType.INT8, 1f, 0)
        override val inputBuffer: ByteBuffer = ByteBuffer.allocateDirect(3).order(ByteOrder.nativeOrder())
        override val outputBuffer: ByteBuffer = ByteBuffer.allocateDirect(1).order(ByteOrder.nativeOrder())
        override val delegation = Delegation("none", 0, 0)

        override fun run(): Long {
            val start = System.nanoTime()
            startsNs.add(start)
            while (System.nanoTime() - start < runNs) Unit
            lastEndNs = System.nanoTime()
            return lastEndNs - start
        }

        override fun close() = Unit
    }
}
