package dev.edgekit.demo.record

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.RandomAccessFile

/** A file of measurements, one JSON line each, as every `edgekit` command reads it. */
object ResultsFile {
    private const val KIND = "measurement"

    /** Adds a line, on disk when this returns. @throws Refusal where it cannot be written. */
    fun append(file: File, measurement: Measurement) {
        try {
            file.parentFile?.mkdirs()
            if (file.exists()) dropTornLine(file)
            FileOutputStream(file, true).use {
                it.write("${line(measurement)}\n".toByteArray(Charsets.UTF_8))
                it.fd.sync()
            }
        } catch (error: IOException) {
            throw Refusal("the result cannot be stored in ${file.name}: ${error.message}; free some room", error)
        }
    }

    /**
     * Every measurement of the file, in order; other records, and what a crash left at the end, are passed over.
     *
     * @throws Refusal for a file that cannot be read, a line that is no record, and one of a newer schema.
     */
    fun read(file: File): List<Measurement> {
        val text = try {
            String(file.readBytes(), Charsets.UTF_8)
        } catch (error: IOException) {
            throw Refusal("the results in ${file.name} cannot be read: ${error.message}", error)
        }
        val lines = text.split("\n").dropLast(1)
        return lines.filter { it.trim().isNotEmpty() }.mapNotNull { decode(it) }
    }

    /** One measurement as its JSON line, without the newline. */
    fun line(measurement: Measurement): String = Json.write(MeasurementJson.encode(measurement))

    /** A measurement's line; null for a record of another kind. */
    fun decode(line: String): Measurement? {
        val fields = Json.parseObject(line, "the result")
        if (fields.text("kind") != KIND) return null
        val schema = fields.longOrNull("schema") ?: Measurement.SCHEMA.toLong()
        if (schema > Measurement.SCHEMA) {
            throw Refusal("the result has schema $schema, this app knows ${Measurement.SCHEMA}; update the app")
        }
        return MeasurementJson.decode(fields)
    }

    /** Cuts off what a crash left after the last newline; such a tail never was a record. */
    private fun dropTornLine(file: File) = RandomAccessFile(file, "rw").use {
        var end = it.length()
        while (end > 0) {
            it.seek(end - 1)
            if (it.read() == '\n'.code) break
            end--
        }
        if (end < it.length()) it.setLength(end)
    }
}
