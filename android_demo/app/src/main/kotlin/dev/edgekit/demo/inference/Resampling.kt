package dev.edgekit.demo.inference

import dev.edgekit.demo.record.InputSpec
import dev.edgekit.demo.record.Refusal

/**
 * How pictures of one size and orientation become the crop that an InputSpec asks for.
 *
 * [columns] act on the stored columns and [rows] on the stored rows; where the orientation is transposed, stored rows
 * become the crop's columns. Bit for bit what `edgekit.images.crop` makes of the upright picture: Pillow resizes across
 * first and rounds to 8 bits before it resizes down, so a transposed picture goes down first.
 */
internal class Resampling(val width: Int, val height: Int, val orientation: Orientation, spec: InputSpec) {
    val columns: Taps
    val rows: Taps

    init {
        val transposed = orientation.transposed
        val crop = Crop(if (transposed) height else width, if (transposed) width else height, spec)
        val across = crop.across(orientation.mirrored)
        val down = crop.down(orientation.flipped)
        columns = if (transposed) down else across
        rows = if (transposed) across else down
    }

    fun isFor(width: Int, height: Int, orientation: Orientation): Boolean =
        width == this.width && height == this.height && orientation == this.orientation
}

/** Where in an upright picture the crop lies; the rules and their numbers are those of `edgekit.images`. */
private class Crop(private val width: Int, private val height: Int, private val spec: InputSpec) {
    private val shorter = minOf(width, height)
    private val scaledWidth = scaled(width)
    private val scaledHeight = scaled(height)
    private val left = Math.floorDiv(scaledWidth - spec.width, 2)
    private val top = Math.floorDiv(scaledHeight - spec.height, 2)
    private val strip = maxOf(scaledWidth, scaledHeight) > LONGEST_SIDE

    init {
        val tooSmall = spec.width > spec.resizeShorter || spec.height > spec.resizeShorter
        if (strip && tooSmall) {
            throw Refusal("a picture of $width x $height is too narrow for this model; choose one of another shape")
        }
    }

    fun across(reversed: Boolean): Taps = taps(width, scaledWidth, left, spec.width, reversed)

    fun down(reversed: Boolean): Taps = taps(height, scaledHeight, top, spec.height, reversed)

    /** To the nearest, halves to even, as Python rounds. */
    private fun scaled(side: Int): Int {
        if (side == shorter) return spec.resizeShorter
        return Math.rint(spec.resizeShorter.toLong() * side / shorter.toDouble()).toInt()
    }

    /** Of a strip, only what the crop keeps is resized: from a box whose edges Pillow takes as floats. */
    private fun taps(side: Int, scaled: Int, from: Int, size: Int, reversed: Boolean): Taps {
        if (!strip) return Taps.bilinear(side, scaled, from, from + size, reversed)
        val ratio = side.toDouble() / scaled
        val box0 = (from * ratio).toFloat()
        val box1 = ((from + size) * ratio).toFloat()
        return Taps.bilinear(side, size, 0, size, reversed, box0, box1)
    }

    private companion object {
        const val LONGEST_SIDE = 8192
    }
}

/**
 * The two directions of resampling on packed pixels (0xRRGGBB, higher bits are ignored).
 *
 * Lines are copied to scratch arrays first: HotSpot and ART make vector instructions of a loop only where all its
 * arrays are read and written at the same index, and that is four times as fast. Not thread-safe.
 */
internal class Kernels {
    private var line = IntArray(0)
    private var reds = IntArray(0)
    private var greens = IntArray(0)
    private var blues = IntArray(0)
    private var redBlues = LongArray(0)

    private fun reserve(size: Int) {
        if (line.size >= size) return
        line = IntArray(size)
        reds = IntArray(size)
        greens = IntArray(size)
        blues = IntArray(size)
        redBlues = LongArray(size)
    }

    /**
     * Each of [lines] lines of [source] shrinks to `taps.size` pixels of [target].
     *
     * Input pixel 0 of the taps lies at [offset] in the first line; lines are [stride] apart.
     */
    fun along(source: IntArray, offset: Int, stride: Int, lines: Int, taps: Taps, target: IntArray) {
        val width = taps.end - taps.start
        reserve(width)
        for (number in 0 until lines) {
            System.arraycopy(source, offset + number * stride + taps.start, line, 0, width)
            unpack(line, redBlues, width)
            unpack(line, greens, 8, width)
            shrink(redBlues, greens, taps, target, number * taps.size)
        }
    }

    /** Red and blue into the halves of one long, so that one multiplication serves both: no sum has over 31 bits. */
    private fun unpack(line: IntArray, redBlues: LongArray, width: Int) {
        for (at in 0 until width) redBlues[at] = (line[at] and 0xff).toLong() or ((line[at] and 0xff0000).toLong() shl 16)
    }

    private fun unpack(line: IntArray, channel: IntArray, shift: Int, width: Int) {
        for (at in 0 until width) channel[at] = line[at] ushr shift and 0xff
    }

    private fun shrink(redBlues: LongArray, greens: IntArray, taps: Taps, target: IntArray, start: Int) {
        val weights = taps.weights
        for (output in 0 until taps.size) {
            var redBlue = ROUND_TWO
            var green = Taps.HALF
            val first = taps.first[output] - taps.start
            val weight = output * taps.most - first
            for (position in first until first + taps.count[output]) {
                val share = weights[weight + position]
                redBlue += redBlues[position] * share
                green += greens[position] * share
            }
            val red = (redBlue ushr (32 + Taps.BITS)).toInt()
            val blue = redBlue.toInt() ushr Taps.BITS
            target[start + output] = red shl 16 or (green ushr Taps.BITS shl 8) or blue
        }
    }

    /**
     * Lines of [columns] pixels shrink to `taps.size` lines of [target]; the first column of input line 0 of the taps
     * lies at [offset], lines are [stride] apart.
     */
    fun down(source: IntArray, offset: Int, stride: Int, columns: Int, taps: Taps, target: IntArray) {
        reserve(columns)
        for (output in 0 until taps.size) {
            reds.fill(Taps.HALF, 0, columns)
            greens.fill(Taps.HALF, 0, columns)
            blues.fill(Taps.HALF, 0, columns)
            for (k in 0 until taps.count[output]) {
                val weight = taps.weights[output * taps.most + k]
                System.arraycopy(source, offset + (taps.first[output] + k) * stride, line, 0, columns)
                add(line, 16, weight, reds, columns)
                add(line, 8, weight, greens, columns)
                add(line, 0, weight, blues, columns)
            }
            pack(reds, greens, blues, line, columns)
            System.arraycopy(line, 0, target, output * columns, columns)
        }
    }

    private fun add(line: IntArray, shift: Int, weight: Int, sums: IntArray, columns: Int) {
        for (column in 0 until columns) sums[column] += (line[column] ushr shift and 0xff) * weight
    }

    private fun pack(reds: IntArray, greens: IntArray, blues: IntArray, line: IntArray, columns: Int) {
        for (column in 0 until columns) {
            val red = reds[column] ushr Taps.BITS
            val green = greens[column] ushr Taps.BITS
            line[column] = red shl 16 or (green shl 8) or (blues[column] ushr Taps.BITS)
        }
    }

    private companion object {
        const val ROUND_TWO = Taps.HALF.toLong() shl 32 or Taps.HALF.toLong()
    }
}
