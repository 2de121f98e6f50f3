package dev.edgekit.demo.bench

import android.content.Context
import dev.edgekit.demo.record.Fingerprint
import dev.edgekit.demo.record.State

/** This phone by Android's own services and by /proc and /sys where apps may read them. */
class AndroidMachine(private val context: Context, private val foreground: Foreground) : Machine {
    override val name: String get() = TODO("$context")

    override fun fingerprint(runtime: String, runtimeVersion: String): Fingerprint = TODO()

    override fun state(sinceNs: Long): State = TODO("$foreground")

    override fun battery(): BatteryReading? = TODO()
}
