package dev.edgekit.demo.record

import dev.edgekit.demo.Expected
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class ResultsFileTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun realMeasurementsKeepEveryFieldThatTheAppHas() {
        for (case in Expected.objects("statistics")) {
            val record = MeasurementJson.decode(case.child("line"))
            val again = ResultsFile.decode(ResultsFile.line(record))!!
            assertEquals(ResultsFile.line(record), ResultsFile.line(again))
            assertArrayEquals(case.child("line").longs("latency_ns"), again.latencyNs)
            assertEquals(case.child("line").children("states").size, again.states.size)
        }
    }

    @Test
    fun linesAreAddedAndReadInOrder() {
        val file = folder.root.resolve("deep/results.jsonl")
        repeat(3) { ResultsFile.append(file, measurement("net$it")) }
        assertEquals(listOf("net0", "net1", "net2"), ResultsFile.read(file).map { it.artifactName })
    }

    @Test
    fun whatACrashLeftIsCutOff() {
        val file = folder.newFile()
        ResultsFile.append(file, measurement("first"))
        file.appendText("{\"kind\":\"measurement\",\"artif")
        assertEquals(listOf("first"), ResultsFile.read(file).map { it.artifactName })
        ResultsFile.append(file, measurement("second"))
        assertEquals(listOf("first", "second"), ResultsFile.read(file).map { it.artifactName })
    }

    @Test
    fun otherRecordsArePassedOver() {
        val file = folder.newFile()
        file.writeText("{\"kind\":\"quality\",\"images\":3}\n\n${ResultsFile.line(measurement("net"))}\n")
        assertEquals(1, ResultsFile.read(file).size)
    }

    @Test
    fun newerAndBrokenLinesAreRefused() {
        val file = folder.newFile()
        file.writeText(ResultsFile.line(measurement("net")).replace("\"schema\":1", "\"schema\":9") + "\n")
        assertTrue("schema 9" in assertThrows(Refusal::class.java) { ResultsFile.read(file) }.message!!)
        file.writeText("{\"kind\":\"measurement\"}\n")
        assertThrows(Refusal::class.java) { ResultsFile.read(file) }
    }

    @Test
    fun aPlaceThatCannotBeWrittenIsNamed() {
        val file = folder.newFile("file").resolve("results.jsonl")
        val refusal = assertThrows(Refusal::class.java) { ResultsFile.append(file, measurement("net")) }
        assertTrue(refusal.message, "cannot be stored in results.jsonl" in refusal.message!!)
    }

    private fun measurement(name: String) = Measurement(
        artifactSha256 = "00",
        artifactName = name,
        model = null,
        recipe = "int8",
        sizeBytes = 5_000_000_000,
        device = "a \"phone\"\n",
        protocol = Protocol("quick", 0.3, 50, 1.0),
        threads = 2,
        latencyNs = longArrayOf(3, 1, 2),
        loadNs = 4,
        firstNs = 5,
        delegation = Delegation("XNNPACK", 0, 0),
        fingerprint = Fingerprint(null, null, 8, "arm64-v8a", "Android 15", "LiteRT", "1.4"),
        startedUtc = "2026-01-01T00:00:00+00:00",
        energyReason = "no meter was asked for",
    )
}
