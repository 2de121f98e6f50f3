package dev.edgekit.demo.inference

/** The median of the last [size] values, in a window of its own; allocates nothing after it is made. */
class RollingMedian(private val size: Int) {
    private val window = LongArray(size)
    private val sorted = LongArray(size)
    private var added = 0L

    /** Adds a value, and forgets the oldest once there are more than [size]. */
    fun add(value: Long) {
        window[(added % size).toInt()] = value
        added++
    }

    /** The median, the mean of the middle two of an even number; null before the first value. */
    fun median(): Double? {
        val count = minOf(added, size.toLong()).toInt()
        if (count == 0) return null
        System.arraycopy(window, 0, sorted, 0, count)
        java.util.Arrays.sort(sorted, 0, count)
        return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2.0
    }

    /** Forgets all values. */
    fun clear() {
        added = 0
    }
}
