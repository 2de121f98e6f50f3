package dev.edgekit.demo.inference

import dev.edgekit.demo.record.OutputKind
import java.nio.ByteBuffer

/** The best classes of one answer, best first; equal ones in the order of their numbers. Filled anew each time. */
class Ranking(val size: Int) {
    val classes = IntArray(size)

    /** Shares from 0 to 1. */
    val probabilities = FloatArray(size)
}

/** A model's output as probabilities and their order; keeps its scratch memory, so that a frame allocates nothing. */
class Postprocessor(private val tensor: TensorInfo, private val kind: OutputKind) {
    /** Reads [output], the output tensor's bytes, from 0 on, and fills [ranking]. */
    fun rank(output: ByteBuffer, ranking: Ranking): Unit = TODO("$tensor $kind $output $ranking")
}
