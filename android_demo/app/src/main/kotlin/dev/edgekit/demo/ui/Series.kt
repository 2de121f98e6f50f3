package dev.edgekit.demo.ui

/**
 * What a live chart draws: one line for each model, a point for each slice. Keeps at most [most] points a line by
 * joining neighbours, so that half an hour needs no more memory than a minute.
 */
class Series(val names: List<String>, private val most: Int = 240) {
    /** Seconds since the session began, and the slice's median in milliseconds. */
    data class Point(val seconds: Double, val milliseconds: Double)

    private val lines = List(names.size) { ArrayList<Point>() }

    val points: List<List<Point>> get() = lines

    val isEmpty: Boolean get() = lines.all { it.isEmpty() }

    /** The largest values, for the axes. */
    val lastSecond: Double get() = lines.maxOfOrNull { it.lastOrNull()?.seconds ?: 0.0 } ?: 0.0
    val slowest: Double get() = lines.maxOfOrNull { line -> line.maxOfOrNull { it.milliseconds } ?: 0.0 } ?: 0.0

    fun add(line: Int, seconds: Double, nanoseconds: Double) {
        val points = lines[line]
        points.add(Point(seconds, nanoseconds / 1e6))
        if (points.size > most) halve(points)
    }

    /** How a line went from its first point to its last: 1.2 is 20 % slower. Null with fewer than two points. */
    fun change(line: Int): Double? {
        val points = lines[line]
        if (points.size < 2) return null
        return points.last().milliseconds / points.first().milliseconds
    }

    private fun halve(points: ArrayList<Point>) {
        val joined = points.chunked(2) { pair ->
            Point(pair.sumOf { it.seconds } / pair.size, pair.sumOf { it.milliseconds } / pair.size)
        }
        points.clear()
        points.addAll(joined)
    }
}
