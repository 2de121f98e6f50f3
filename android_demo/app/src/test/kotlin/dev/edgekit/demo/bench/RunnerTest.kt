package dev.edgekit.demo.bench

import dev.edgekit.demo.Expected
import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.record.MeasurementJson
import dev.edgekit.demo.record.Protocol
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.State
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test
import java.nio.ByteBuffer
import java.util.concurrent.CancellationException

class RunnerTest {
    private val clock = FakeClock()
    private val runtime = FakeRuntime(clock)
    private val foreground = Foreground()
    private val runner = Runner(runtime, FakeMachine(clock, foreground), clock)
    private val quick = Session(Protocols.QUICK)

    private fun subject(name: String = "net", accelerator: Accelerator = Accelerator.CPU) =
        Subject(fakeArtifact(name), ByteBuffer.allocateDirect(1), accelerator)

    /** All but "cold", which starts many processes. */
    @Test
    fun presetsAreThoseOfPython() {
        val wanted = Expected.objects("protocols").map { MeasurementJson.protocol(it) }
        assertEquals(wanted.filter { it.starts == 1 }, Protocols.all)
    }

    @Test
    fun aProtocolIsFulfilled() {
        val record = runner.measure(listOf(subject()), quick, Silent).single()
        assertEquals(10, record.slices.size)
        assertEquals(record.latencyNs.size, record.slices.sum())
        assertTrue("${record.latencyNs.size} runs", record.latencyNs.size >= 50)
        assertTrue("${record.latencyNs.sum()} ns", record.latencyNs.sum() in 950_000_000..1_100_000_000)
        assertTrue(record.latencyNs.all { it == 5_000_000L })
        assertEquals(20_000_000.0, record.loadNs.toDouble(), 1e6)
        assertEquals(5_000_000, record.firstNs)
        assertEquals(12, record.states.size)
        assertTrue(record.warmup!!.stable && record.warmup!!.seconds in 0.3..0.4)
        assertEquals("no meter was asked for", record.energyReason)
        assertNull(record.energy)
        assertEquals(listOf(1, 1), listOf(runtime.opened, runtime.closed))
    }

    @Test
    fun fastModelsStopAtTheMostRuns() {
        runtime.inferenceNs = { 1000 }
        val protocol = Protocol("short", warmupS = 0.0, minRuns = 10, minSeconds = 10.0, maxRuns = 500)
        val record = runner.measure(listOf(subject()), Session(protocol), Silent).single()
        assertEquals(500, record.latencyNs.size)
        assertTrue("ended after 0 s by the limit of 500 runs" in record.verdict!!.notes)
    }

    @Test
    fun modelsTakeTurns() {
        val turns = ArrayList<Int>()
        val progress = object : Progress {
            override fun slice(subject: Int, latencyNs: LongArray, state: State) {
                turns += subject
            }
        }
        val records = runner.measure(listOf(subject("a"), subject("b")), quick, progress)
        assertEquals(List(20) { it % 2 }, turns)
        assertEquals(listOf("a", "b"), records.map { it.artifactName })
        assertEquals(1, records.map { it.session }.distinct().size)
    }

    @Test
    fun aWarmUpGoesOnUntilNothingDrifts() {
        runtime.inferenceNs = { run -> if (run < 150) 10_000_000L - 30_000 * run else 5_500_000L }
        val warmup = runner.measure(listOf(subject()), quick, Silent).single().warmup!!
        assertTrue("$warmup", warmup.stable && warmup.seconds > 1)
        runtime.inferenceNs = { run -> 5_000_000L + 10_000 * run }
        val endless = runner.measure(listOf(subject()), quick, Silent).single()
        assertTrue("${endless.warmup}", !endless.warmup!!.stable && endless.warmup!!.seconds in 3.0..3.1)
        assertTrue(endless.verdict!!.reasons.any { "not stable after 3.0 s" in it })
    }

    @Test
    fun aRunInTheBackgroundIsInvalid() {
        runtime.inferenceNs = { run ->
            if (run == 150) foreground.leave()
            if (run == 151) foreground.enter()
            5_000_000
        }
        val record = runner.measure(listOf(subject()), quick, Silent).single()
        assertEquals(Validity.INVALID, record.verdict!!.word)
        assertEquals("the app left the screen during the session", record.verdict!!.reasons.first())
        assertEquals(1, record.states.count { it.foreground == false })
    }

    @Test
    fun whatWasBeforeTheSessionDoesNotMatter() {
        foreground.leave()
        foreground.enter()
        val record = runner.measure(listOf(subject()), quick, Silent).single()
        assertTrue("${record.verdict}", record.states.all { it.foreground == true })
    }

    @Test
    fun aMissingGpuFallsBackWithItsReason() {
        val record = runner.measure(listOf(subject(accelerator = Accelerator.GPU)), quick, Silent).single()
        assertTrue("the CPU stood in for the GPU: there is no GPU; use the CPU" in record.verdict!!.notes)
        assertEquals("fake", record.delegation.delegate)
    }

    @Test
    fun cancellingEndsItAndClosesTheModels() {
        val progress = object : Progress {
            override fun slice(subject: Int, latencyNs: LongArray, state: State) = runner.cancel()
        }
        assertThrows(CancellationException::class.java) { runner.measure(listOf(subject()), quick, progress) }
        assertEquals(listOf(1, 1), listOf(runtime.opened, runtime.closed))
        runner.measure(listOf(subject()), quick, Silent)
    }

    @Test
    fun whatTheAppCannotDoIsRefused() {
        val wrong = mapOf(
            "0 threads" to quick.copy(threads = 0),
            "the cores [4, 5]" to quick.copy(cores = listOf(4, 5)),
            "20 cold starts" to quick.copy(protocol = Protocols.QUICK.copy(starts = 20)),
            "the inputs 'images:/x'" to quick.copy(inputs = "images:/x"),
            "no golden image" to quick.copy(inputs = "golden"),
        )
        for ((why, session) in wrong) {
            val refusal = assertThrows(why, Refusal::class.java) { runner.measure(listOf(subject()), session, Silent) }
            assertTrue(refusal.message, why in refusal.message!!)
        }
        assertEquals(runtime.opened, runtime.closed)
    }

    @Test
    fun metersThatAreNotThereGiveAReason() {
        fun reason(meter: String) = runner.measure(listOf(subject()), quick.copy(meter = meter), Silent).single().energyReason
        assertEquals("the phone tells nothing of its battery", reason("auto"))
        assertTrue("asks for android" !in reason("pmic")!! && "the meter pmic" in reason("pmic")!!)
    }

    @Test
    fun aPluggedPhoneIsNoMeter() {
        val plugged = object : FakeMachine(clock) {
            override fun battery() = BatteryReading(clock.nanos(), plugged = true, voltage = 4000)
        }
        val session = quick.copy(meter = "auto")
        val record = Runner(runtime, plugged, clock).measure(listOf(subject()), session, Silent).single()
        assertTrue(record.energyReason, "plugged in" in record.energyReason!!)
    }
}
