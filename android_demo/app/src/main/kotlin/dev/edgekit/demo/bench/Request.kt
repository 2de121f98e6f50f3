package dev.edgekit.demo.bench

import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Session
import java.io.File

/** What `edgekit bench --device adb:` asks, by docs/android-contract.md. */
data class Request(val id: String, val model: String, val sha256: String, val name: String, val session: Session) {
    companion object {
        /** The folder on the phone that `edgekit` puts models into. */
        const val FOLDER = "/data/local/tmp/edgekit"

        /**
         * From the extra `request`.
         *
         * @throws dev.edgekit.demo.record.Refusal for another thing than the contract has: an id that is no 32
         * hexadecimal digits (which becomes a file's name), a model outside [FOLDER].
         */
        fun parse(text: String): Request = TODO(text)
    }
}

/** The one file that answers a request: complete or not at all. */
class Answers(private val folder: File) {
    /** Writes the measurement where `edgekit` waits for it. */
    fun write(id: String, measurement: Measurement): Unit = TODO("$folder $id $measurement")

    /** Writes why there is none. */
    fun writeError(id: String, reason: String): Unit = TODO("$folder $id $reason")
}
