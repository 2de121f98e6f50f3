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

/** The two directions of resampling on packed pixels (0xRRGGBB, higher bits are ignored). */
internal object Kernels {
    private const val GREEN = 0xff
    private const val ROUND_TWO = Taps.HALF.toLong() shl 32 or Taps.HALF.toLong()

    /**
     * Each of [lines] lines of [source] shrinks to `taps.size` pixels of [target].
     *
     * Input pixel 0 of the taps lies at [offset] in the first line; lines are [stride] apart. Red and blue are summed
     * in the halves of one long: no sum has more than 31 bits.
     */
    fun along(source: IntArray, offset: Int, stride: Int, lines: Int, taps: Taps, target: IntArray) {
        val weights = taps.weights
        val size = taps.size
        for (line in 0 until lines) {
            val start = offset + line * stride
            for (output in 0 until size) {
                var redBlue = ROUND_TWO
                var green = Taps.HALF
                val weight = output * taps.most - taps.first[output] - start
                val first = start + taps.first[output]
                for (position in first until first + taps.count[output]) {
                    val pixel = source[position]
                    val share = weights[weight + position]
                    redBlue += ((pixel and 0xff).toLong() or ((pixel and 0xff0000).toLong() shl 16)) * share
                    green += (pixel ushr 8 and GREEN) * share
                }
                target[line * size + output] = packed(redBlue, green)
            }
        }
    }

    private fun packed(redBlue: Long, green: Int): Int {
        val red = (redBlue ushr (32 + Taps.BITS)).toInt()
        val blue = (redBlue.toInt() ushr Taps.BITS)
        return red shl 16 or (green ushr Taps.BITS shl 8) or blue
    }

    /**
     * Lines of [columns] pixels shrink to `taps.size` lines of [target]; the first column of input line 0 of the taps
     * lies at [offset]. [sums] is scratch for 3 x [columns] numbers.
     */
    fun down(
        source: IntArray,
        offset: Int,
        stride: Int,
        columns: Int,
        taps: Taps,
        target: IntArray,
        sums: IntArray,
    ) {
        for (output in 0 until taps.size) {
            java.util.Arrays.fill(sums, 0, 3 * columns, Taps.HALF)
            for (k in 0 until taps.count[output]) {
                val line = offset + (taps.first[output] + k) * stride
                addLine(source, line, columns, taps.weights[output * taps.most + k], sums)
            }
            for (column in 0 until columns) {
                val red = sums[column] ushr Taps.BITS
                val green = sums[columns + column] ushr Taps.BITS
                val blue = sums[2 * columns + column] ushr Taps.BITS
                target[output * columns + column] = red shl 16 or (green shl 8) or blue
            }
        }
    }

    /** Three plain loops, which both HotSpot and ART turn into vector instructions. */
    private fun addLine(source: IntArray, line: Int, columns: Int, weight: Int, sums: IntArray) {
        for (column in 0 until columns) sums[column] += (source[line + column] ushr 16 and 0xff) * weight
        for (column in 0 until columns) sums[columns + column] += (source[line + column] ushr 8 and 0xff) * weight
        for (column in 0 until columns) sums[2 * columns + column] += (source[line + column] and 0xff) * weight
    }
}
