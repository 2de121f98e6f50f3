package dev.edgekit.demo.bench

import dev.edgekit.demo.record.Protocol

/** The presets that a phone offers, as `edgekit.bench` has them. */
object Protocols {
    val QUICK = Protocol("quick", warmupS = 0.3, minRuns = 50, minSeconds = 1.0, warmupMostS = 3.0)
    val STANDARD = Protocol("standard", warmupS = 1.0, minRuns = 200, minSeconds = 5.0)
    val MLPERF = Protocol(
        "mlperf-single-stream",
        warmupS = 1.0,
        minRuns = 1024,
        minSeconds = 60.0,
        maxRuns = 1_000_000,
        rounds = 30,
        percentile = 0.9,
    )

    /** Half an hour: what a phone's case lets it do for good. */
    val SUSTAINED = Protocol(
        "sustained",
        warmupS = 0.3,
        minRuns = 180,
        minSeconds = 1800.0,
        maxRuns = 10_000_000,
        warmupMostS = 0.3,
        rounds = 180,
    )

    val all = listOf(QUICK, STANDARD, MLPERF, SUSTAINED)
}
