package dev.edgekit.demo.inference

import java.nio.ByteBuffer

/** TensorFlow Lite's Java API, which LiteRT keeps: XNNPACK on the CPU, or the GPU delegate. */
object LiteRt : Runtime {
    override val name = "LiteRT"
    override val version: String get() = TODO()

    override fun open(model: ByteBuffer, threads: Int, accelerator: Accelerator): Classifier =
        TODO("$model $threads $accelerator")
}
