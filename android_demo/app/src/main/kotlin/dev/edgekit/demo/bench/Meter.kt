package dev.edgekit.demo.bench

import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit

/** Energy of a stretch of time: [start] and [stop] bracket it, any number of times. */
interface Meter {
    val source: String
    val scope: String

    /** The time between two updates of the reading. */
    val resolutionS: Double

    fun start()

    /** @throws NoMeter where nothing can be said of the time since [start]. */
    fun stop(): Window
}

/** The phone's battery, read every quarter of a second by a thread of its own from [start] to [stop]. */
class BatteryMeter(private val machine: Machine) : Meter {
    override var source = BatteryUnits.SOURCE
        private set
    override val scope = BatteryUnits.SCOPE
    override val resolutionS = 1.0 // fuel gauges renew their figures about once a second, or less often
    private val readings = ArrayList<BatteryReading>()
    private var halt = CountDownLatch(0)
    private var thread: Thread? = null

    override fun start() {
        readings.clear()
        read()
        halt = CountDownLatch(1)
        thread = Thread({ while (!halt.await(PERIOD_MS, TimeUnit.MILLISECONDS)) read() }, "battery").apply {
            isDaemon = true
            start()
        }
    }

    override fun stop(): Window {
        halt.countDown()
        thread?.join()
        thread = null
        read()
        val found = BatteryUnits.discharge(readings)
        source = "${BatteryUnits.SOURCE}, ${found.by}"
        return found.window
    }

    private fun read() {
        machine.battery()?.let { readings.add(it) }
    }

    private companion object {
        const val PERIOD_MS = 250L
    }
}
