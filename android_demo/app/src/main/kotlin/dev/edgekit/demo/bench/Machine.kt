package dev.edgekit.demo.bench

import dev.edgekit.demo.record.Fingerprint
import dev.edgekit.demo.record.State

/** The clocks of a session: [nanos] is monotonic, [wallNanos] since 1970; [sleep] is of the calling thread. */
interface Clock {
    fun nanos(): Long
    fun wallNanos(): Long
    fun sleep(milliseconds: Long)
}

/** The clocks of this process. */
object SystemClocks : Clock {
    override fun nanos(): Long = System.nanoTime()
    override fun wallNanos(): Long = System.currentTimeMillis() * 1_000_000
    override fun sleep(milliseconds: Long) = Thread.sleep(milliseconds)
}

/** What the battery tells at one moment, numbers as they came; null where the phone does not tell. */
data class BatteryReading(
    val timeNs: Long,
    val plugged: Boolean,
    val voltage: Long? = null,
    val current: Long? = null,
    val chargeCounter: Long? = null,
    val energyCounter: Long? = null,
)

/** A phone that can be looked at: [AndroidMachine] in the app. All of it may be called from any thread. */
interface Machine {
    /** Maker and model, and the SoC where it is known: the record's `device`. */
    val name: String

    fun fingerprint(runtime: String, runtimeVersion: String): Fingerprint

    /** The phone now; [sinceNs] is what the clock said when the session began. */
    fun state(sinceNs: Long): State

    /** The battery now; null where there is none to read. */
    fun battery(): BatteryReading?
}

/** Whether the app stayed on the screen: the UI tells, the machine's states ask. Thread-safe. */
class Foreground {
    private var visible = true
    private var stayed = true

    /** The app came to the screen. */
    @Synchronized
    fun enter() {
        visible = true
    }

    /** The app left the screen. */
    @Synchronized
    fun leave() {
        visible = false
        stayed = false
    }

    /** Whether the app was on the screen at every moment since the last call. */
    @Synchronized
    fun stayed(): Boolean {
        val answer = stayed
        stayed = visible
        return answer
    }
}
