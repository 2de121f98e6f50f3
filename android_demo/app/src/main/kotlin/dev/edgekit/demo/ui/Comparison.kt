package dev.edgekit.demo.ui

import dev.edgekit.demo.bench.Statistics
import dev.edgekit.demo.record.Measurement

/** What the rows of the table say. */
enum class Line { MEDIAN, NINETY, FIRST, LOAD, ENERGY, SIZE, RUNS, DELEGATE, VERDICT }

/** How a cell is to be looked at. */
enum class Tone { PLAIN, BEST, DOUBTFUL, BAD }

data class Cell(val text: String, val tone: Tone = Tone.PLAIN)

/** Measurements side by side: a column for each model, a row for each line. */
class Comparison(val models: List<String>, val rows: List<Pair<Line, List<Cell>>>, val summary: Summary?) {
    /** The faster of exactly two models, and how many times as fast it is. */
    data class Summary(val faster: String, val slower: String, val times: Double)

    companion object {
        /** The table; null where there is nothing to compare. */
        fun of(measurements: List<Measurement>): Comparison? {
            if (measurements.isEmpty()) return null
            val rows = Line.values().map { line -> line to marked(line, measurements) }
            return Comparison(measurements.map { it.artifactName }, rows, summary(measurements))
        }

        private fun summary(measurements: List<Measurement>): Summary? {
            if (measurements.size != 2) return null
            val (one, other) = measurements.map { median(it) ?: return null }
            val (fast, slow) = if (one <= other) measurements else measurements.reversed()
            return Summary(fast.artifactName, slow.artifactName, maxOf(one, other) / minOf(one, other))
        }

        private fun marked(line: Line, measurements: List<Measurement>): List<Cell> {
            val cells = measurements.map { cell(line, it) }
            val values = measurements.map { value(line, it) }
            val best = values.filterNotNull().minOrNull()
            if (measurements.size < 2 || best == null || values.any { it == null }) return cells
            return cells.mapIndexed { at, cell -> if (values[at] == best) cell.copy(tone = Tone.BEST) else cell }
        }

        /** What is better when it is less; null for lines where nothing is better. */
        private fun value(line: Line, measurement: Measurement): Double? = when (line) {
            Line.MEDIAN -> median(measurement)
            Line.NINETY -> quantile(measurement, 0.9)
            Line.ENERGY -> measurement.energy?.energyJ
            Line.SIZE -> measurement.sizeBytes.toDouble()
            else -> null
        }

        private fun cell(line: Line, measurement: Measurement): Cell = when (line) {
            Line.MEDIAN, Line.NINETY -> Cell(Figures.milliseconds(value(line, measurement)))
            Line.FIRST -> Cell(Figures.milliseconds(measurement.firstNs.toDouble()))
            Line.LOAD -> Cell(Figures.milliseconds(measurement.loadNs.toDouble()))
            Line.ENERGY -> Cell(Figures.millijoules(measurement.energy?.energyJ))
            Line.SIZE -> Cell(Figures.megabytes(measurement.sizeBytes))
            Line.RUNS -> Cell("${measurement.latencyNs.size}")
            Line.DELEGATE -> Cell(measurement.delegation.delegate)
            Line.VERDICT -> verdict(measurement)
        }

        private fun verdict(measurement: Measurement): Cell {
            val word = measurement.verdict?.word ?: return Cell(Figures.NONE)
            return Cell(word, if (word == "valid") Tone.PLAIN else if (word == "invalid") Tone.BAD else Tone.DOUBTFUL)
        }

        private fun median(measurement: Measurement): Double? = quantile(measurement, 0.5)

        private fun quantile(measurement: Measurement, share: Double): Double? =
            if (measurement.latencyNs.isEmpty()) null else Statistics.quantile(measurement.latencyNs, share)
    }
}
