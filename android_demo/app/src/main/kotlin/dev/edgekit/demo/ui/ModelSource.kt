package dev.edgekit.demo.ui

import android.content.res.AssetManager
import dev.edgekit.demo.bench.Headless
import dev.edgekit.demo.record.seek
import java.io.File
import java.io.FileNotFoundException
import java.nio.ByteBuffer
import java.nio.channels.FileChannel

/** Where a model came from; the user may remove what the user brought. */
enum class Origin { BUILT_IN, OPENED, PUSHED }

/** A file that may be a model; [map] gives its bytes without copying them; it throws IOException or Refusal. */
class FoundModel(val name: String, val origin: Origin, val map: () -> ByteBuffer)

/** A place where models lie. */
interface ModelSource {
    fun find(): List<FoundModel>
}

private const val SUFFIX = ".tflite"

/** The models in a folder; none where the phone has no such folder. */
class FolderModels(private val folder: File?, private val origin: Origin) : ModelSource {
    override fun find(): List<FoundModel> =
        folder?.listFiles().orEmpty()
            .filter { it.isFile && it.name.endsWith(SUFFIX) }
            .sortedBy { it.name }
            .map { file -> FoundModel(file.name.removeSuffix(SUFFIX), origin) { Headless.mapped(file) } }
}

/** The models inside the app, mapped where they are stored uncompressed, as both builds of the app do. */
class AssetModels(private val assets: AssetManager) : ModelSource {
    override fun find(): List<FoundModel> =
        assets.list(FOLDER).orEmpty()
            .filter { it.endsWith(SUFFIX) }
            .map { name -> FoundModel(name.removeSuffix(SUFFIX), Origin.BUILT_IN) { content("$FOLDER/$name") } }

    private fun content(path: String): ByteBuffer =
        try {
            assets.openFd(path).use { file ->
                file.createInputStream().use {
                    it.channel.map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.length)
                }
            }
        } catch (_: FileNotFoundException) {
            inflated(path)
        }

    private fun inflated(path: String): ByteBuffer {
        val bytes = assets.open(path).use { it.readBytes() }
        return ByteBuffer.allocateDirect(bytes.size).apply {
            put(bytes)
            seek(0)
        }
    }

    private companion object {
        const val FOLDER = "models"
    }
}
