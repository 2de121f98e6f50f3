package dev.edgekit.demo.bench

import dev.edgekit.demo.Expected
import dev.edgekit.demo.inference.DesktopRuntime
import dev.edgekit.demo.record.Json
import dev.edgekit.demo.record.ResultsFile
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File

/** Requests as `edgekit` makes them, answered by real inferences. */
class HeadlessTest {
    @get:Rule
    val folder = TemporaryFolder()
    private val id = "0123456789abcdef0123456789abcdef"
    private val machine = FakeMachine(SystemClocks)

    private fun headless(models: File) =
        Headless(DesktopRuntime, machine, Answers(folder.root), folder = models.path)

    private fun request(model: File, sha256: String, vararg changes: Pair<String, String>): String {
        val text = Expected.file("request.json").readText()
        val filled = text.replace("{id}", id).replace("{model}", model.path).replace("{sha256}", sha256)
        return changes.fold(filled) { before, (old, new) -> before.replace(old, new) }
    }

    private fun error(): String = Json.parseObject(folder.root.resolve("$id.json").readText(), "it").text("error")

    @Test
    fun modelsAreMeasuredAsAsked() {
        val written = File(System.getProperty("edgekit.written") ?: folder.root.path, "measurements.jsonl")
        written.delete()
        for (answer in Expected.objects("answers").filter { it.text("model").endsWith("int8_fast") }) {
            val model = Expected.file("models/${answer.text("model")}.tflite")
            assertEquals(id, headless(model.parentFile).run(request(model, answer.text("sha256")), Silent))
            val text = folder.root.resolve("$id.json").readText()
            val record = ResultsFile.decode(text.trim())!!
            assertEquals("a name, \"quoted\"", record.artifactName)
            assertEquals(answer.text("sha256"), record.artifactSha256)
            assertEquals("quick", record.protocol.name)
            assertTrue("${record.latencyNs.size} runs", record.latencyNs.size >= 50)
            written.appendText(text)
        }
        assertEquals(emptyList<String>(), folder.root.list()!!.filter { it.endsWith(".part") })
    }

    @Test
    fun whatCannotBeDoneIsAnsweredWithAReason() {
        val model = Expected.models().first()
        val app = headless(model.parentFile)
        app.run(request(model, "0".repeat(64)), Silent)
        assertTrue(error(), "another file than was asked for" in error())
        app.run(request(File(model.parentFile, "absent.tflite"), "0".repeat(64)), Silent)
        assertTrue(error(), "cannot be read" in error())
        app.run(request(File("/etc/passwd"), "0".repeat(64)), Silent)
        assertTrue(error(), "models are read from" in error())
        app.run(request(File(model.parentFile, "../crops.bin"), "0".repeat(64)), Silent)
        assertTrue(error(), "models are read from" in error())
        app.run(request(model, "xyz"), Silent)
        assertTrue(error(), "the field 'sha256' is 'xyz'" in error())
        app.run(request(model, "0".repeat(64), "\"min_runs\":50" to "\"min_runs\":\"many\""), Silent)
        assertTrue(error(), "the field 'min_runs'" in error())
    }

    @Test
    fun nobodyIsAnsweredWhoNamesNoId() {
        val app = headless(folder.root)
        assertNull(app.run("", Silent))
        assertNull(app.run("{\"id\":\"../../evil\"}", Silent))
        assertNull(app.run("{\"id\":\"0123\"}", Silent))
        assertEquals(0, folder.root.list()!!.size)
    }

    @Test
    fun brokenModelsAreAnsweredWithAReason() {
        val broken = folder.newFile("broken.tflite").apply { writeText("junk that is no model") }
        val sha256 = dev.edgekit.demo.record.ArtifactReader.sha256(Headless.mapped(broken))
        headless(folder.root).run(request(broken, sha256), Silent)
        assertTrue(error(), "lacks the mark TFL3" in error())
    }

    @Test
    fun aFullDiskLeavesNothingBehind() {
        val place = folder.newFile("file")
        val refusal = org.junit.Assert.assertThrows(dev.edgekit.demo.record.Refusal::class.java) {
            Answers(place).writeError(id, "reason")
        }
        assertTrue(refusal.message, "cannot be written" in refusal.message!!)
        assertEquals(listOf("file"), folder.root.list()!!.toList())
    }
}
