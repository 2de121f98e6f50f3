package dev.edgekit.demo.bench

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Test

class EnergyAccountTest {
    private val clock = FakeClock()

    /** Tells windows of a second at this power; null where it fails. */
    private inner class Constant(private var watts: () -> Double?) : Meter {
        override val source = "constant"
        override val scope = "board"
        override val resolutionS = 0.1

        override fun start() = Unit

        override fun stop(): Window = Window(watts() ?: throw NoMeter("it broke"), 1.0, 10)
    }

    @Test
    fun netIsGrossLessWhatRestTakes() {
        var watts = 1.0
        val account = EnergyAccount(RestingMeter.atRest(Constant { watts }, clock), null)
        watts = 3.0
        repeat(4) {
            account.open()
            account.close(LongArray(100) { 10_000_000 })
            account.bare(LongArray(10) { 8_000_000 })
        }
        val energy = account.energy()!!
        assertEquals(0.03, energy.energyJ, 1e-12)
        assertEquals(0.02, energy.netJ!!, 1e-12)
        assertEquals(1.0, energy.idlePowerW!!, 1e-12)
        assertEquals(1.25, energy.samplerRatio!!, 1e-12)
        assertEquals(listOf(4, 40), listOf(energy.windows, energy.updates))
        assertNull(energy.tooShort)
    }

    @Test
    fun scatteringWindowsAskForMoreTime() {
        var number = 0
        val account = EnergyAccount(RestingMeter.atRest(Constant { 1.0 + number++ % 2 }, clock), null)
        repeat(4) {
            account.open()
            account.close(LongArray(100))
        }
        val tooShort = account.energy()!!.tooShort!!
        // standard error of 1, 2, 1, 2 W is 0.2887; 19.2 % of 1.5 W, so (0.192 / 0.05)^2 times as long
        assertEquals("scatters by 19% in 4.0 s where 5% is wanted; measure for 59 s", tooShort)
    }

    @Test
    fun oneWindowWithoutAFigureLeavesAReason() {
        var broken = false
        val account = EnergyAccount(RestingMeter.atRest(Constant { if (broken) null else 1.0 }, clock), null)
        broken = true
        account.open()
        account.close(LongArray(1))
        assertNull(account.energy())
        assertEquals("it broke", account.reason)
    }

    @Test
    fun aPhoneThatCannotRestHasNoNet() {
        val resting = RestingMeter.atRest(Constant { null }, clock)
        assertNull(resting.idle)
        assertEquals("it broke", resting.idleReason)
    }

    /** Ten seconds of a battery that gives 2 W, read by its own thread in real time. */
    @Test
    fun aBatteryIsReadWhileInferencesRun() {
        val start = System.nanoTime()
        val machine = object : FakeMachine(clock) {
            override fun battery(): BatteryReading {
                val tenths = (System.nanoTime() - start) / 100_000_000
                return BatteryReading(System.nanoTime(), false, 4000, -500_000 - tenths % 7)
            }
        }
        val meter = BatteryMeter(machine)
        meter.start()
        Thread.sleep(3500)
        val window = meter.stop()
        assertEquals(2.0, window.energyJ / window.seconds, 0.01)
        assertTrue("${window.updates} updates", window.updates >= 10)
        assertEquals("phone's battery, current, as uA, by its size", meter.source)
    }
}
