package dev.edgekit.demo.bench

/** What a series of latencies says of itself; quantiles between two values lie on the straight line, as numpy's. */
object Statistics {
    /** The value below which a [share] of 0 to 1 lies. */
    fun quantile(values: LongArray, share: Double): Double = TODO("$values $share")

    /** The middle value. */
    fun median(values: LongArray): Double = quantile(values, 0.5)
}
