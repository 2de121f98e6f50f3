package dev.edgekit.demo.bench

import dev.edgekit.demo.record.Json
import dev.edgekit.demo.record.JsonObject
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.MeasurementJson
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.ResultsFile
import dev.edgekit.demo.record.Session
import java.io.File
import java.io.FileOutputStream
import java.io.IOException

/** What `edgekit bench --device adb:` asks, by docs/android-contract.md. */
data class Request(val id: String, val model: String, val sha256: String, val name: String, val session: Session) {
    companion object {
        /** The folder on the phone that `edgekit` puts models into. */
        const val FOLDER = "/data/local/tmp/edgekit"
        private val ID = Regex("[0-9a-f]{32}")
        private val SHA256 = Regex("[0-9a-f]{64}")

        /**
         * From the extra `request`; [folder] is where models may lie.
         *
         * @throws Refusal for another thing than the contract has: an id that is no 32 hexadecimal digits (which
         * becomes a file's name), a model outside of the folder.
         */
        fun parse(text: String, folder: String = FOLDER): Request {
            val fields = Json.parseObject(text, "the request")
            val request = Request(
                id = matching(fields, "id", ID),
                model = fields.text("model"),
                sha256 = matching(fields, "sha256", SHA256),
                name = fields.text("name"),
                session = session(fields.child("session")),
            )
            val steps = request.model.removePrefix("$folder/").split("/")
            if (!request.model.startsWith("$folder/") || steps.any { it == ".." }) {
                throw Refusal("asked for the model ${request.model}; models are read from $folder: push it there")
            }
            return request
        }

        /** The id by itself, to answer a request that cannot be obeyed; null where even that is unreadable. */
        fun idOf(text: String): String? = try {
            matching(Json.parseObject(text, "the request"), "id", ID)
        } catch (_: Refusal) {
            null
        }

        private fun matching(fields: JsonObject, name: String, form: Regex): String {
            val text = fields.text(name)
            if (!form.matches(text)) throw Refusal("the field '$name' is '${text.take(80)}'; ${form.pattern} was expected")
            return text
        }

        private fun session(fields: JsonObject) = Session(
            protocol = MeasurementJson.protocol(fields.child("protocol")),
            threads = fields.intOrNull("threads") ?: 1,
            meter = fields.textOrNull("meter") ?: "none",
            cores = fields.ints("cores"),
            inputs = fields.textOrNull("inputs") ?: "random",
        )
    }
}

/** The one file that answers a request: complete or not at all. */
class Answers(private val folder: File) {
    /** Writes the measurement where `edgekit` waits for it. @throws Refusal where it cannot be written. */
    fun write(id: String, measurement: Measurement) = writeText(id, ResultsFile.line(measurement))

    /** Writes why there is none. @throws Refusal where it cannot be written. */
    fun writeError(id: String, reason: String) = writeText(id, Json.write(mapOf("error" to reason)))

    /** Beside it first, onto the disk, then to its name in one step. */
    private fun writeText(id: String, text: String) {
        val beside = File(folder, "$id.part")
        try {
            if (!folder.isDirectory && !folder.mkdirs()) throw IOException("the folder cannot be made")
            FileOutputStream(beside).use {
                it.write("$text\n".toByteArray(Charsets.UTF_8))
                it.fd.sync()
            }
            if (!beside.renameTo(File(folder, "$id.json"))) throw IOException("the file cannot be renamed")
        } catch (error: IOException) {
            beside.delete()
            throw Refusal("the answer cannot be written to $folder: ${error.message}; free some room", error)
        }
    }
}
