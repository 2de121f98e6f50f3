package dev.edgekit.demo.bench

import dev.edgekit.demo.Expected
import dev.edgekit.demo.record.JsonObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

/** What batteries of different makers tell, against `edgekit.meters.android`. */
class BatteryUnitsTest {
    @Test
    fun energyAndReasonsAreThoseOfPython() {
        for (case in Expected.objects("batteries")) {
            val readings = case.children("readings").map { reading(it) }
            val refused = case.textOrNull("refused")
            if (refused != null) {
                assertEquals(refused, assertThrows(refused, NoMeter::class.java) { BatteryUnits.discharge(readings) }.message)
                continue
            }
            val found = BatteryUnits.discharge(readings)
            val wanted = case.child("window")
            assertEquals(case.text("by"), found.by)
            assertEquals(wanted.double("energy_j"), found.window.energyJ, 1e-12 * wanted.double("energy_j"))
            assertEquals(wanted.double("seconds"), found.window.seconds, 0.0)
            assertEquals(wanted.int("updates"), found.window.updates)
            assertEquals(wanted.int("missed"), found.window.missed)
        }
    }

    private fun reading(fields: JsonObject) = BatteryReading(
        timeNs = fields.long("time_ns"),
        plugged = fields.boolean("plugged"),
        voltage = fields.longOrNull("voltage"),
        current = fields.longOrNull("current"),
        chargeCounter = fields.longOrNull("charge_counter"),
        energyCounter = fields.longOrNull("energy_counter"),
    )
}
