package dev.edgekit.demo.ui

import dev.edgekit.demo.bench.Answers
import dev.edgekit.demo.bench.Progress
import dev.edgekit.demo.bench.Request
import dev.edgekit.demo.bench.Subject
import dev.edgekit.demo.record.ArtifactReader
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Refusal
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer

/** Answers one request of `edgekit bench --device adb:`, by docs/android-contract.md; blocks while it measures. */
class Headless(
    private val bench: Bench,
    private val answers: Answers,
    private val map: (String) -> ByteBuffer = { mapped(File(it)) },
) {
    /** Measures, or says why not; either way there is an answer when this returns. */
    fun answer(request: Request, progress: Progress) {
        val measurement = try {
            measure(request, progress)
        } catch (refusal: Refusal) {
            return answers.writeError(request.id, refusal.message.orEmpty())
        } catch (error: IOException) {
            return answers.writeError(request.id, "${request.model} cannot be read by the app: ${error.message}")
        } catch (_: OutOfMemoryError) {
            return answers.writeError(request.id, "${request.name} needs more memory than the phone has free")
        }
        answers.write(request.id, measurement)
    }

    private fun measure(request: Request, progress: Progress): Measurement {
        val content = map(request.model)
        val artifact = ArtifactReader.read(request.name, content)
        if (artifact.sha256 != request.sha256) {
            throw Refusal("asked for the file ${request.sha256}, found ${artifact.sha256}; push it again")
        }
        return bench.measure(listOf(Subject(artifact, content)), request.session, progress).single()
    }
}
