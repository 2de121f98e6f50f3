package dev.edgekit.demo.record

import java.io.File

/** A file of measurements, one JSON line each, as every `edgekit` command reads it. */
object ResultsFile {
    /** Adds a line, on disk when this returns. @throws Refusal where it cannot be written. */
    fun append(file: File, measurement: Measurement): Unit = TODO("$file $measurement")

    /** Every measurement of the file, in order; other records, and what a crash left at the end, are passed over. */
    fun read(file: File): List<Measurement> = TODO("$file")

    /** One measurement as its JSON line, without the newline. */
    fun line(measurement: Measurement): String = TODO("$measurement")
}
