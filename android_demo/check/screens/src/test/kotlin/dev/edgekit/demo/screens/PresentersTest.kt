package dev.edgekit.demo.screens

import dev.edgekit.demo.bench.Protocols
import dev.edgekit.demo.bench.Subject
import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.inference.DesktopRuntime
import dev.edgekit.demo.inference.Orientation
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.ResultsFile
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.Verdict
import dev.edgekit.demo.ui.BenchmarkPresenter
import dev.edgekit.demo.ui.ClassifyPresenter
import dev.edgekit.demo.ui.Comparison
import dev.edgekit.demo.ui.FolderModels
import dev.edgekit.demo.ui.Library
import dev.edgekit.demo.ui.Line
import dev.edgekit.demo.ui.Origin
import dev.edgekit.demo.ui.Picture
import dev.edgekit.demo.ui.Refused
import dev.edgekit.demo.ui.Tone
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNotNull
import org.junit.Assert.assertNull
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.util.concurrent.CancellationException
import java.util.concurrent.Executor

/** The screens' logic with real models and a desktop's runtime; no Android. */
class PresentersTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val models = File(System.getProperty("models")!!)
    private val here = Executor { it.run() }

    private fun opened() = File(folder.root, "opened")

    private fun library() = Library(
        listOf(FolderModels(models, Origin.BUILT_IN), FolderModels(opened(), Origin.OPENED), FolderModels(null, Origin.PUSHED)),
        opened(), DesktopRuntime, here, here,
    ).apply { refresh() }

    private fun picture(width: Int = 40, height: Int = 30) =
        Picture(IntArray(width * height) { it * 7919 }, width, height, Orientation.UPRIGHT)

    @Test
    fun modelsAreCheckedWhereTheyRun() {
        val found = library()
        assertEquals(2, found.ready.size)
        found.ready.forEach { assertTrue("${it.name}: ${it.golden?.detail}", it.golden!!.passed) }
        assertFalse(found.loading)
    }

    @Test
    fun whatIsNoModelIsRefusedWithAReason() {
        opened().mkdirs()
        File(opened(), "empty.tflite").writeText("")
        File(opened(), "text.tflite").writeText("x".repeat(1000))
        val whole = models.listFiles()!!.first().readBytes()
        File(opened(), "cut.tflite").writeBytes(whole.copyOf(whole.size / 2))
        File(opened(), "ignored.txt").writeText("x")
        val refused = library().models.filterIsInstance<Refused>()
        assertEquals(listOf("cut", "empty", "text"), refused.map { it.name })
        refused.forEach { assertTrue(it.reason, it.reason.length > 20) }
    }

    @Test
    fun openedModelsAreKeptOnceAndRemoved() {
        val found = library()
        val source = models.listFiles()!!.first()
        var complaint: String? = null
        found.open("again", { source.inputStream() }) { complaint = it }
        assertEquals("a model that is built in is not shown twice", 2, found.ready.size)
        found.open("broken", { throw java.io.IOException("gone") }) { complaint = it }
        assertEquals("broken cannot be read: gone", complaint)
        assertEquals(listOf("again.tflite"), opened().list()!!.toList())
        found.remove(Refused("again", Origin.BUILT_IN, ""))
        assertEquals(1, opened().list()!!.size)
        found.remove(Refused("again", Origin.OPENED, ""))
        assertEquals(0, opened().list()!!.size)
    }

    @Test
    fun aPictureIsClassifiedAndTimed() {
        val presenter = ClassifyPresenter(library(), DesktopRuntime, here, here)
        presenter.attach {}
        presenter.picture { picture() }
        val state = presenter.state
        assertEquals(3, state.guesses.size)
        assertEquals(state.guesses.sortedByDescending { it.probability }, state.guesses)
        assertTrue(state.stages!!.inferenceNs > state.stages!!.postprocessNs)
        assertFalse(state.live)
    }

    @Test
    fun anotherModelLooksAtTheSamePicture() {
        val presenter = ClassifyPresenter(library(), DesktopRuntime, here, here)
        presenter.attach {}
        presenter.picture { picture() }
        val before = presenter.state.guesses
        presenter.choose(1)
        assertEquals(1, presenter.state.chosen)
        assertEquals(3, presenter.state.guesses.size)
        assertTrue(before != presenter.state.guesses)
        presenter.choose(99)
        assertEquals(1, presenter.state.chosen)
    }

    @Test
    fun badPicturesAreSaidAndNotThrown() {
        val presenter = ClassifyPresenter(library(), DesktopRuntime, here, here)
        presenter.attach {}
        presenter.picture { throw Refusal("the file is no picture") }
        assertEquals("the file is no picture", presenter.state.error)
        presenter.picture { throw OutOfMemoryError() }
        assertTrue(presenter.state.error!!.contains("not enough free memory"))
        presenter.picture { picture(1, 5000) }
        assertNull(presenter.state.error)
        assertEquals(3, presenter.state.guesses.size)
        presenter.picture { picture(5000, 1) }
        assertEquals(3, presenter.state.guesses.size)
    }

    @Test
    fun backAtTheCameraTheOldAnswerIsGone() {
        val presenter = ClassifyPresenter(library(), DesktopRuntime, here, here)
        presenter.attach {}
        presenter.picture { picture() }
        presenter.goLive()
        assertTrue(presenter.state.live && presenter.state.guesses.isEmpty() && presenter.state.stages == null)
    }

    private fun benchmark(bench: ScriptedBench, results: File = File(folder.root, "results.jsonl")) =
        BenchmarkPresenter(library(), { bench }, QuietMachine, results, here, here, cores = 4)

    private val fair = ScriptedBench { subjects, session, _ ->
        subjects.mapIndexed { at, subject -> imagined(subject, session, 2.0 * (at + 1)) }
    }

    @Test
    fun resultsAreKeptAndCompared() {
        val results = File(folder.root, "results.jsonl")
        val presenter = benchmark(fair, results)
        assertEquals(listOf(1, 2, 4), presenter.state.threadChoices)
        presenter.start()
        val comparison = presenter.state.comparison!!
        assertEquals(2, comparison.models.size)
        assertEquals(2.0, comparison.summary!!.times, 0.05)
        assertEquals(comparison.models[0], comparison.summary!!.faster)
        assertEquals(2, ResultsFile.read(results).size)
        assertEquals(2, presenter.state.saved)
        assertEquals("results of before are counted", 2, benchmark(fair, results).state.saved)
    }

    @Test
    fun onlyWhatIsChosenIsMeasured() {
        var asked: Pair<List<String>, Session>? = null
        val presenter = benchmark(
            ScriptedBench { subjects, session, _ ->
                asked = subjects.map { it.artifact.name } to session
                assertTrue(subjects.all { it.accelerator == Accelerator.GPU })
                val fellBack = Verdict("valid", notes = listOf("the CPU stood in for the GPU: no driver"))
                subjects.map { imagined(it, session, 1.0, fellBack) }
            },
        )
        val (first, second) = presenter.state.choices.map { it.name }
        presenter.choose(second, false)
        presenter.threads(4)
        presenter.protocol(Protocols.STANDARD)
        presenter.accelerator(Accelerator.GPU)
        presenter.start()
        assertEquals(listOf(first), asked!!.first)
        assertEquals(4 to "standard", asked!!.second.threads to asked!!.second.protocol.name)
        assertEquals(listOf("the CPU stood in for the GPU: no driver"), presenter.state.reasons)
        presenter.choose(first, false)
        assertFalse(presenter.state.canStart)
    }

    @Test
    fun aCancelledRunLeavesNothing() {
        val results = File(folder.root, "results.jsonl")
        val presenter = benchmark(ScriptedBench { _, _, _ -> throw CancellationException() }, results)
        presenter.start()
        assertNull(presenter.state.running)
        assertNull(presenter.state.error)
        assertFalse(results.exists())
    }

    @Test
    fun whatGoesWrongIsSaid() {
        val presenter = benchmark(ScriptedBench { _, _, _ -> throw Refusal("the battery is at 3 %; charge it") })
        presenter.start()
        assertEquals("the battery is at 3 %; charge it", presenter.state.error)
        assertNotNull(benchmark(ScriptedBench { _, _, _ -> throw OutOfMemoryError() }).apply { start() }.state.error)
        val failing = benchmark(ScriptedBench { _, _, _ -> throw IllegalStateException("node 3") }).apply { start() }
        assertTrue(failing.state.error!!.contains("node 3") && failing.state.running == null)
    }

    @Test
    fun aRunIsFollowed() {
        val seen = ArrayList<Double>()
        val presenter = benchmark(
            ScriptedBench { subjects, session, progress ->
                progress.at(0.25, "warming up")
                progress.slice(0, longArrayOf(1_000_000, 3_000_000, 2_000_000), QuietMachine.state(0).copy(atS = 5.0))
                subjects.map { imagined(it, session, 1.0) }
            },
        )
        presenter.attach { state -> state.running?.let { seen.add(it.share) } }
        presenter.start()
        assertTrue(0.25 in seen)
        val point = presenter.state.series!!.points[0].single()
        assertEquals(5.0 to 2.0, point.seconds to point.milliseconds)
    }

    @Test
    fun theTableMarksTheBestAndTheDoubtful() {
        val subjects = library().ready.map { Subject(it.artifact, it.content) }
        val session = Session(Protocols.QUICK)
        val bad = Verdict("invalid", listOf("the app was in the background"))
        val table = Comparison.of(
            listOf(imagined(subjects[0], session, 3.0), imagined(subjects[1], session, 2.0, bad)),
        )!!
        val rows = table.rows.toMap()
        assertEquals(listOf(Tone.PLAIN, Tone.BEST), rows.getValue(Line.MEDIAN).map { it.tone })
        assertEquals(listOf(Tone.PLAIN, Tone.BAD), rows.getValue(Line.VERDICT).map { it.tone })
        assertEquals(listOf(Tone.PLAIN, Tone.PLAIN), rows.getValue(Line.ENERGY).map { it.tone })
        assertEquals("–", rows.getValue(Line.ENERGY)[0].text)
        assertNull(Comparison.of(emptyList()))
        assertNull(Comparison.of(listOf(imagined(subjects[0], session, 3.0)))!!.summary)
    }
}
