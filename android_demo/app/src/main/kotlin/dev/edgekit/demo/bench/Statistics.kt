package dev.edgekit.demo.bench

import kotlin.math.abs
import kotlin.math.ceil
import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min
import kotlin.math.pow
import kotlin.math.sqrt

/** A trend through a series: its change from end to end as a share of the median, and how likely it is chance. */
class Drift(val change: Double, val pValue: Double)

/**
 * What a series of latencies says of itself, to the same figures as `edgekit.sampling` (which tells the sources);
 * quantiles between two values lie on the straight line, as numpy's.
 */
object Statistics {
    private const val Z95 = 1.959963984540054 // the normal distribution's 97.5 % quantile
    private const val DRIFT_BLOCKS = 20
    private const val RESAMPLES = 1000

    /** Fewer values show no drift. */
    const val DRIFT_LEAST = 8

    /** The value below which a [share] of 0 to 1 lies. */
    fun quantile(values: LongArray, share: Double): Double = ofSorted(values.sortedArray(), share)

    /** The middle value, the mean of the middle two of an even number. */
    fun median(values: LongArray): Double = quantile(values, 0.5)

    private fun ofSorted(sorted: LongArray, share: Double): Double {
        require(sorted.isNotEmpty()) { "no values have no quantiles" }
        val position = share * (sorted.size - 1)
        val below = position.toInt()
        val above = min(below + 1, sorted.size - 1)
        return sorted[below] + (position - below) * (sorted[above] - sorted[below])
    }

    /** The trend of a series in the order of its time (Mann and Kendall, Theil and Sen); null for too few values. */
    fun drift(values: LongArray): Drift? {
        if (values.size < DRIFT_LEAST) return null
        val blocks = min(DRIFT_BLOCKS, values.size)
        val medians = DoubleArray(blocks) { median(values.copyOfRange(edge(values, it, blocks), edge(values, it + 1, blocks))) }
        var score = 0
        val slopes = ArrayList<Double>()
        for (i in medians.indices) {
            for (j in i + 1 until medians.size) {
                score += medians[j].compareTo(medians[i])
                slopes.add((medians[j] - medians[i]) / (j - i))
            }
        }
        val middle = middle(medians.toList())
        val change = if (middle != 0.0) middle(slopes) * (blocks - 1) / middle else 0.0
        return Drift(change, kendallP(score, medians))
    }

    private fun edge(values: LongArray, number: Int, count: Int): Int = (values.size.toLong() * number / count).toInt()

    private fun middle(values: List<Double>): Double {
        val sorted = values.sorted()
        return (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2
    }

    /** The two-sided p-value of Kendall's score, by the normal approximation with its correction for ties. */
    private fun kendallP(score: Int, values: DoubleArray): Double {
        val ties = values.groupBy { it }.values.sumOf { spread(it.size) }
        val variance = (spread(values.size) - ties) / 18.0
        if (variance <= 0 || score == 0) return 1.0
        return erfc((abs(score) - 1) / sqrt(2 * variance))
    }

    private fun spread(n: Int): Int = n * (n - 1) * (2 * n + 5)

    /**
     * The complementary error function for 0 and above, to 1.2e-7 of its value.
     *
     * Chebyshev's approximation in Press et al., Numerical Recipes, 6.2 (`erfcc`).
     */
    internal fun erfc(x: Double): Double {
        val t = 1 / (1 + 0.5 * x)
        var sum = 0.0
        for (coefficient in ERFC) sum = sum * t + coefficient
        return t * exp(-x * x + sum)
    }

    private val ERFC = doubleArrayOf(
        0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807,
        -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223,
    )

    /** Half the 95 % interval of the median as a share of it, from how the slices differ; null without slices. */
    fun medianPrecision(blocks: List<LongArray>): Double? {
        val filled = blocks.filter { it.isNotEmpty() }
        if (filled.size < 2) return null
        val (low, high) = medianInterval(filled)
        return (high - low) / (high + low)
    }

    /** The 95 % interval of the median of all values, by drawing whole blocks with Python's generator, seed 0. */
    private fun medianInterval(blocks: List<LongArray>): Pair<Double, Double> {
        val pooled = Pooled(blocks)
        val value = median(concatenated(blocks))
        val generator = Twister(0)
        val draws = DoubleArray(RESAMPLES) { pooled.median(draw(blocks.size, generator)) / value }
        draws.sort()
        val (low, high) = widened(draws, blocks.size)
        return value * low to value * high
    }

    private fun concatenated(blocks: List<LongArray>): LongArray {
        val all = LongArray(blocks.sumOf { it.size })
        var at = 0
        for (block in blocks) {
            block.copyInto(all, at)
            at += block.size
        }
        return all
    }

    /** How often each block is drawn. */
    private fun draw(count: Int, generator: Twister): IntArray {
        val counts = IntArray(count)
        repeat(count) { counts[(generator.next() * count).toInt()]++ }
        return counts
    }

    /** The 95 % percentile interval of sorted relative values, widened around 1 for how few blocks there are. */
    private fun widened(relative: DoubleArray, blocks: Int): Pair<Double, Double> {
        val factor = student(blocks - 1) / Z95 * sqrt(blocks / (blocks - 1.0))
        val low = relative[(0.025 * relative.size).toInt()]
        val high = relative[ceil(0.975 * relative.size).toInt() - 1]
        return min(1.0, low.pow(factor)) to max(1.0, high.pow(factor))
    }

    /** Student's 97.5 % quantile: exact for 1 and 2 degrees of freedom, else Cornish and Fisher's expansion. */
    private fun student(degrees: Int): Double {
        if (degrees <= 2) return if (degrees == 1) 12.7062 else 4.3027
        val z = Z95
        val v = degrees.toDouble()
        val first = (z.pow(3) + z) / 4
        val second = (5 * z.pow(5) + 16 * z.pow(3) + 3 * z) / 96
        val third = (3 * z.pow(7) + 19 * z.pow(5) + 17 * z.pow(3) - 15 * z) / 384
        return z + first / v + second / v.pow(2) + third / v.pow(3)
    }
}

/** Blocks as sorted quantiles with weights, so that the median of any draw of them is one walk. */
private class Pooled(blocks: List<LongArray>) {
    private class Point(val value: Long, val block: Int, val weight: Double)

    private val sizes = blocks.map { it.size }
    private val points: List<Point>

    init {
        val each = max(5, QUANTILES / blocks.size)
        val all = blocks.indices.flatMap { quantiles(blocks[it].sortedArray(), it, each) }
        points = all.sortedWith(compareBy({ it.value }, { it.block }, { it.weight }))
    }

    private fun quantiles(ordered: LongArray, block: Int, most: Int): List<Point> {
        val count = min(most, ordered.size)
        val weight = ordered.size.toDouble() / count
        return List(count) { Point(ordered[(ordered.size.toLong() * (2 * it + 1) / (2 * count)).toInt()], block, weight) }
    }

    /** The median of so many copies of each block. */
    fun median(counts: IntArray): Double {
        var half = 0.0
        for (block in counts.indices) half += counts[block] * sizes[block].toDouble()
        half /= 2
        var passed = 0.0
        for (point in points) {
            passed += counts[point.block] * point.weight
            if (passed >= half) return point.value.toDouble()
        }
        return points.last().value.toDouble()
    }

    private companion object {
        const val QUANTILES = 400
    }
}

/**
 * Python's `random.Random(seed).random()`, so that a phone draws what `edgekit compare` would.
 *
 * The Mersenne twister of Matsumoto and Nishimura (1998), MT19937, seeded by its init_by_array.
 */
internal class Twister(seed: Int) {
    private val state = IntArray(SIZE)
    private var at = SIZE

    init {
        require(seed >= 0) { "only seeds of 0 and above are taken as Python takes them" }
        state[0] = 19650218
        for (i in 1 until SIZE) state[i] = 1812433253 * (state[i - 1] xor (state[i - 1] ushr 30)) + i
        mix(1, SIZE) { i -> (state[i] xor previous(i) * 1664525) + seed }
        mix(2, SIZE - 1) { i -> (state[i] xor previous(i) * 1566083941) - i }
        state[0] = Int.MIN_VALUE
    }

    private fun previous(i: Int): Int = state[i - 1] xor (state[i - 1] ushr 30)

    private fun mix(start: Int, times: Int, value: (Int) -> Int) {
        var i = start
        repeat(times) {
            state[i] = value(i)
            i++
            if (i == SIZE) {
                state[0] = state[SIZE - 1]
                i = 1
            }
        }
    }

    /** A number from 0 to below 1, of 53 bits. */
    fun next(): Double {
        val high = (bits() ushr 5).toLong()
        val low = (bits() ushr 6).toLong()
        return (high * (1 shl 26) + low) / (1L shl 53).toDouble()
    }

    private fun bits(): Int {
        if (at == SIZE) renew()
        var word = state[at++]
        word = word xor (word ushr 11)
        word = word xor (word shl 7 and 0x9d2c5680.toInt())
        word = word xor (word shl 15 and 0xefc60000.toInt())
        return word xor (word ushr 18)
    }

    private fun renew() {
        for (i in 0 until SIZE) {
            val joined = (state[i] and Int.MIN_VALUE) or (state[(i + 1) % SIZE] and Int.MAX_VALUE)
            val odd = if (joined and 1 != 0) 0x9908b0df.toInt() else 0
            state[i] = state[(i + 397) % SIZE] xor (joined ushr 1) xor odd
        }
        at = 0
    }

    private companion object {
        const val SIZE = 624
    }
}
