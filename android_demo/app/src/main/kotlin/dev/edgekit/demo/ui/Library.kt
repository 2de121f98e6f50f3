package dev.edgekit.demo.ui

import dev.edgekit.demo.inference.Classifier
import dev.edgekit.demo.inference.GoldenResult
import dev.edgekit.demo.inference.Recognizer
import dev.edgekit.demo.inference.Runtime
import dev.edgekit.demo.record.Artifact
import dev.edgekit.demo.record.ArtifactReader
import dev.edgekit.demo.record.Refusal
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.util.concurrent.Executor

/** One file of the library, usable or not. */
sealed class Model {
    abstract val name: String
    abstract val origin: Origin
}

/** A model that can be used; [golden] is what its known input gave on this phone, null where it carries none. */
class Ready(
    val artifact: Artifact,
    val content: ByteBuffer,
    override val origin: Origin,
    val golden: GoldenResult?,
) : Model() {
    override val name: String get() = artifact.name
}

/** A file that cannot be used, and why. */
class Refused(override val name: String, override val origin: Origin, val reason: String) : Model()

/**
 * The models at hand. Reads and checks them on [background], tells listeners on [main], which is also the only place
 * from which it is called.
 */
class Library(
    private val sources: List<ModelSource>,
    private val opened: File,
    private val runtime: Runtime,
    private val background: Executor,
    private val main: Executor,
) {
    var models: List<Model> = emptyList()
        private set

    var loading = false
        private set

    private val listeners = LinkedHashSet<() -> Unit>()

    /** Only the models that can be used. */
    val ready: List<Ready> get() = models.filterIsInstance<Ready>()

    /** Calls [listener] after each change, until [forget]. */
    fun listen(listener: () -> Unit) {
        listeners.add(listener)
    }

    fun forget(listener: () -> Unit) {
        listeners.remove(listener)
    }

    /** Looks again at every source; models that are known already are not checked anew. */
    fun refresh() {
        loading = true
        val known = ready
        background.execute {
            val found = sources.flatMap { it.find() }.map { load(it, known) }
            val distinct = found.distinctBy { (it as? Ready)?.artifact?.sha256 ?: it }
            main.execute { show(distinct) }
        }
        tell()
    }

    /** Copies what the user opened, then looks again; [failed] gets the reason where it cannot be copied. */
    fun open(name: String, content: () -> InputStream, failed: (String) -> Unit) {
        background.execute {
            try {
                copy(name, content)
                main.execute { refresh() }
            } catch (error: IOException) {
                val reason = "$name cannot be read: ${error.message ?: error.javaClass.simpleName}"
                main.execute { failed(reason) }
            }
        }
    }

    /** Deletes a model that the user opened. */
    fun remove(model: Model) {
        if (model.origin != Origin.OPENED) return
        File(opened, "${model.name}.tflite").delete()
        refresh()
    }

    private fun show(found: List<Model>) {
        models = found
        loading = false
        tell()
    }

    private fun tell() = listeners.toList().forEach { it() }

    private fun load(found: FoundModel, known: List<Ready>): Model =
        try {
            val content = found.map()
            val artifact = ArtifactReader.read(found.name, content)
            known.firstOrNull { it.artifact.sha256 == artifact.sha256 && it.origin == found.origin }
                ?: Ready(artifact, content, found.origin, check(artifact, content))
        } catch (refusal: Refusal) {
            Refused(found.name, found.origin, refusal.message.orEmpty())
        } catch (error: IOException) {
            Refused(found.name, found.origin, "the file cannot be read: ${error.message}")
        } catch (_: OutOfMemoryError) {
            Refused(found.name, found.origin, "the phone has not enough free memory for it; close other apps")
        } catch (error: RuntimeException) {
            Refused(found.name, found.origin, "the runtime failed with it: $error")
        }

    private fun check(artifact: Artifact, content: ByteBuffer): GoldenResult? =
        recognizer(runtime.open(content, threads = 1), artifact).use { it.checkGolden() }

    private fun copy(name: String, content: () -> InputStream) {
        opened.mkdirs()
        val part = File(opened, "$name.part")
        try {
            content().use { source -> part.outputStream().use { source.copyTo(it) } }
            if (!part.renameTo(File(opened, "$name.tflite"))) throw IOException("no room, or no right to write")
        } finally {
            part.delete()
        }
    }
}

/** The recognizer of a classifier, which is closed if they do not fit each other. */
fun recognizer(classifier: Classifier, artifact: Artifact): Recognizer {
    var made: Recognizer? = null
    try {
        return Recognizer(artifact, classifier).also { made = it }
    } finally {
        if (made == null) classifier.close()
    }
}
