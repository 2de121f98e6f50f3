package dev.edgekit.demo.bench

import android.annotation.TargetApi
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager
import android.os.Process
import android.os.SystemClock
import dev.edgekit.demo.record.Fingerprint
import dev.edgekit.demo.record.State

/** This phone by Android's own services, and by /proc and /sys where apps may read them. */
class AndroidMachine(private val context: Context, private val foreground: Foreground) : Machine {
    private val files = LinuxFiles()
    private val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager
    private val fuelGauge = context.getSystemService(Context.BATTERY_SERVICE) as BatteryManager
    private val soc = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) toldSoc() else Build.HARDWARE

    override val name: String = "${Build.MANUFACTURER} ${Build.MODEL} ($soc)"

    override fun fingerprint(runtime: String, runtimeVersion: String) = Fingerprint(
        board = "${Build.MANUFACTURER} ${Build.MODEL}",
        cpu = soc,
        cores = files.cores() ?: java.lang.Runtime.getRuntime().availableProcessors(),
        arch = abi(),
        os = "Android ${Build.VERSION.RELEASE}, ${Build.FINGERPRINT}",
        runtime = runtime,
        runtimeVersion = runtimeVersion,
        governor = files.governor(),
        frequencyKhz = files.frequencyKhz(),
        load1Min = files.load1Min(),
        soc = soc,
        frequencyMaxKhz = files.frequencyMaxKhz(),
        powerSource = powerSource(),
        swapUsedBytes = files.swapUsedBytes(),
    )

    override fun state(sinceNs: Long): State {
        val now = System.nanoTime()
        val processorTime = files.processorTimeS()
        return State(
            atS = (now - sinceNs) / 1e9,
            clockOffsetNs = System.currentTimeMillis() * 1_000_000 - now,
            sleptNs = maxOf(0, SystemClock.elapsedRealtimeNanos() - System.nanoTime()),
            frequencyKhz = files.frequencyKhz(),
            frequencyLimitKhz = files.frequencyLimitKhz(),
            governor = files.governor(),
            powerSource = powerSource(),
            load1Min = files.load1Min(),
            swapUsedBytes = files.swapUsedBytes(),
            busyS = processorTime?.first,
            stolenS = processorTime?.second,
            ownS = Process.getElapsedCpuTime() / 1e3,
            thermalStatus = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) thermalStatus() else null,
            thermalHeadroom = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) thermalHeadroom() else null,
            foreground = foreground.stayed(),
            powerSave = power.isPowerSaveMode,
        )
    }

    override fun battery(): BatteryReading? {
        val told = batteryTold() ?: return null
        return BatteryReading(
            timeNs = System.nanoTime(),
            plugged = isPlugged(told),
            voltage = told.getIntExtra(BatteryManager.EXTRA_VOLTAGE, -1).toLong().takeIf { it > 0 },
            current = property(BatteryManager.BATTERY_PROPERTY_CURRENT_NOW),
            chargeCounter = property(BatteryManager.BATTERY_PROPERTY_CHARGE_COUNTER),
            energyCounter = property(BatteryManager.BATTERY_PROPERTY_ENERGY_COUNTER),
        )
    }

    /** The smallest number stands for what the phone does not tell (BatteryManager.getLongProperty). */
    private fun property(id: Int): Long? = fuelGauge.getLongProperty(id).takeIf { it != Long.MIN_VALUE }

    private fun batteryTold(): Intent? = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))

    private fun isPlugged(told: Intent): Boolean {
        val status = told.getIntExtra(BatteryManager.EXTRA_STATUS, BatteryManager.BATTERY_STATUS_UNKNOWN)
        return told.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) != 0 || status == BatteryManager.BATTERY_STATUS_CHARGING
    }

    private fun powerSource(): String? = batteryTold()?.let { if (isPlugged(it)) "mains" else "battery" }

    /** Of this process: a 64-bit phone may run it with 32. */
    private fun abi(): String {
        val own = if (Process.is64Bit()) Build.SUPPORTED_64_BIT_ABIS else Build.SUPPORTED_32_BIT_ABIS
        return own.firstOrNull() ?: Build.SUPPORTED_ABIS.first()
    }

    @TargetApi(Build.VERSION_CODES.S)
    private fun toldSoc(): String {
        if (Build.SOC_MODEL == Build.UNKNOWN) return Build.HARDWARE
        return if (Build.SOC_MANUFACTURER == Build.UNKNOWN) Build.SOC_MODEL else "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}"
    }

    @TargetApi(Build.VERSION_CODES.Q)
    private fun thermalStatus(): Int = power.currentThermalStatus

    /** The present one; it is not told more often than about once a second, or at all. */
    @TargetApi(Build.VERSION_CODES.R)
    private fun thermalHeadroom(): Double? = power.getThermalHeadroom(0).toDouble().takeIf { it.isFinite() }
}
