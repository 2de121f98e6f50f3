package dev.edgekit.demo.bench

import dev.edgekit.demo.Expected
import dev.edgekit.demo.record.MeasurementJson
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Test

/** Against numpy and `edgekit.sampling`, on latencies of real machines. */
class StatisticsTest {
    @Test
    fun quantilesAreThoseOfNumpy() {
        for (case in Expected.objects("statistics")) {
            val values = case.child("line").longs("latency_ns")
            for (pair in case.lists("quantiles")) {
                val wanted = (pair[1] as Number).toDouble()
                assertEquals(wanted, Statistics.quantile(values, (pair[0] as Number).toDouble()), 1e-12 * wanted)
            }
        }
    }

    @Test
    fun driftAndPrecisionAreThoseOfPython() {
        for (case in Expected.objects("statistics")) {
            val record = MeasurementJson.decode(case.child("line"))
            val drift = Statistics.drift(record.latencyNs)!!
            assertEquals(case.double("change"), drift.change, 1e-12)
            assertEquals(case.double("p_value"), drift.pValue, 1e-6)
            val precision = Statistics.medianPrecision(Validity.slices(record))!!
            assertEquals(case.double("precision"), precision, 1e-12)
        }
    }

    @Test
    fun fewValuesShowNothing() {
        assertNull(Statistics.drift(LongArray(7) { it.toLong() }))
        assertNull(Statistics.medianPrecision(listOf(longArrayOf(1, 2), LongArray(0))))
        assertEquals(0.0, Statistics.drift(LongArray(8) { 5 })!!.change, 0.0)
        assertEquals(1.0, Statistics.drift(LongArray(8) { 5 })!!.pValue, 0.0)
    }

    @Test
    fun drawsAreThoseOfPython() {
        // python3 -c "import random; g = random.Random(0); print([g.random() for _ in range(3)])"
        val generator = Twister(0)
        assertEquals(0.8444218515250481, generator.next(), 0.0)
        assertEquals(0.7579544029403025, generator.next(), 0.0)
        assertEquals(0.420571580830845, generator.next(), 0.0)
    }
}
