package dev.edgekit.demo.bench

import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.ArtifactReader
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Refusal
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.util.concurrent.CancellationException

/** A request of `edgekit` from its text to its answer's file; blocks the thread that calls it. */
class Headless(
    private val runtime: Runtime,
    private val machine: Machine,
    private val answers: Answers,
    private val clock: Clock = SystemClocks,
    private val folder: String = Request.FOLDER,
) {
    @Volatile
    private var runner: Runner? = null

    /**
     * Does what the request asks and answers it, with a reason where that cannot be done.
     *
     * @return the request's id, or null for a text so wrong that nobody waits for an answer.
     */
    fun run(text: String, progress: Progress): String? {
        val id = Request.idOf(text) ?: return null
        try {
            answers.write(id, measure(Request.parse(text, folder), progress))
        } catch (error: Refusal) {
            answers.writeError(id, error.message.orEmpty())
        } catch (_: CancellationException) {
            answers.writeError(id, "the benchmark was stopped on the phone; run it again")
        } catch (error: OutOfMemoryError) {
            answers.writeError(id, "the phone has not enough memory for this model; close other apps ($error)")
        } catch (error: RuntimeException) {
            answers.writeError(id, "the app failed: $error; report it with the model")
        }
        return id
    }

    /** Ends the session at the next slice, from any thread. */
    fun cancel() {
        runner?.cancel()
    }

    private fun measure(request: Request, progress: Progress): Measurement {
        val content = mapped(File(request.model))
        val found = ArtifactReader.sha256(content)
        if (found != request.sha256) {
            val hashes = "sha256 ${found.take(12)}, ${request.sha256.take(12)} was expected"
            throw Refusal("${request.model} is another file than was asked for: $hashes; push it again")
        }
        val artifact = renamed(ArtifactReader.read(request.name, content), request.name)
        val runner = Runner(runtime, machine, clock).also { runner = it }
        return runner.measure(listOf(Subject(artifact, content)), request.session, progress).single()
    }

    /** The name is the request's, whatever it ends in. */
    private fun renamed(artifact: Artifact, name: String) =
        Artifact(name, artifact.sha256, artifact.sizeBytes, artifact.card, artifact.labels, artifact.golden)

    companion object {
        /** A whole file for reading by a runtime. @throws Refusal where it cannot be read. */
        fun mapped(file: File): ByteBuffer = try {
            RandomAccessFile(file, "r").use { it.channel.map(FileChannel.MapMode.READ_ONLY, 0, it.length()) }
        } catch (error: IOException) {
            throw Refusal("the model $file cannot be read: ${error.message}; push it, readable by apps", error)
        }
    }
}
