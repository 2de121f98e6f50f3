package dev.edgekit.demo.inference

import dev.edgekit.demo.record.OutputKind
import java.nio.ByteBuffer
import kotlin.math.exp

/** The best classes of one answer, best first; equal ones in the order of their numbers. Filled anew each time. */
class Ranking(val size: Int) {
    val classes = IntArray(size)

    /** Shares from 0 to 1. */
    val probabilities = FloatArray(size)
}

/** A model's output as probabilities and their order; keeps its scratch memory, so that a frame allocates nothing. */
class Postprocessor(private val tensor: TensorInfo, private val kind: OutputKind) {
    private val values = DoubleArray(tensor.elements)

    /** Reads [output], the output tensor's bytes in native order, from 0 on, and fills [ranking]. */
    fun rank(output: ByteBuffer, ranking: Ranking) {
        for (number in values.indices) values[number] = real(output, number).toDouble()
        order(ranking)
        val best = values[ranking.classes[0]]
        val sum = if (kind == OutputKind.LOGITS) powers(best) else 1.0
        for (place in 0 until ranking.size) {
            val value = values[ranking.classes[place]]
            val share = if (kind == OutputKind.LOGITS) exp(value - best) / sum else value
            ranking.probabilities[place] = share.toFloat()
        }
    }

    private fun powers(best: Double): Double {
        var sum = 0.0
        for (value in values) sum += exp(value - best)
        return sum
    }

    /** By insertion: places are few. A later class goes before an earlier one only if it is better. */
    private fun order(ranking: Ranking) {
        val classes = ranking.classes
        var filled = 0
        for (number in values.indices) {
            val value = values[number]
            if (filled == ranking.size && value <= values[classes[filled - 1]]) continue
            var place = if (filled < ranking.size) filled++ else filled - 1
            while (place > 0 && values[classes[place - 1]] < value) {
                classes[place] = classes[place - 1]
                place--
            }
            classes[place] = number
        }
    }

    /** The value that the tensor holds, float arithmetic as numpy does it. */
    private fun real(output: ByteBuffer, number: Int): Float {
        val raw = raw(output, number, tensor.type)
        if (tensor.type == ElementType.FLOAT32 || tensor.scale == 0f) return raw
        return (raw - tensor.zeroPoint) * tensor.scale
    }
}

/** An element of a tensor as it is stored; every type's values have a float of their own. */
internal fun raw(bytes: ByteBuffer, number: Int, type: ElementType): Float = when (type) {
    ElementType.FLOAT32 -> bytes.getFloat(4 * number)
    ElementType.INT8 -> bytes.get(number).toFloat()
    ElementType.UINT8 -> (bytes.get(number).toInt() and 0xff).toFloat()
    ElementType.INT16 -> bytes.getShort(2 * number).toFloat()
}
