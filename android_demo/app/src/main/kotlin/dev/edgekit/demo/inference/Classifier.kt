package dev.edgekit.demo.inference

import dev.edgekit.demo.record.Delegation
import java.io.Closeable
import java.nio.ByteBuffer

/** The types of a tensor's elements that the app feeds and reads: their bytes, and the range of whole numbers. */
enum class ElementType(val bytes: Int, val least: Int, val most: Int) {
    FLOAT32(4, 0, 0),
    INT8(1, -128, 127),
    UINT8(1, 0, 255),
    INT16(2, -32768, 32767),
}

/** An input or output; [scale] is 0 where the tensor is not quantized per tensor. */
class TensorInfo(val shape: List<Int>, val type: ElementType, val scale: Float, val zeroPoint: Int) {
    /** How many values it holds. */
    val elements: Int get() = shape.fold(1) { product, size -> product * size }

    /** How many bytes it holds. */
    val bytes: Int get() = elements * type.bytes
}

/** A model loaded into a runtime, with one input and one output; used by one thread at a time. */
interface Classifier : Closeable {
    val input: TensorInfo
    val output: TensorInfo

    /** What is to be classified, in the input's own type: direct, native order, for the caller to fill from 0 on. */
    val inputBuffer: ByteBuffer

    /** What the last [run] answered, in the output's own type: direct, native order, to be read from 0 on. */
    val outputBuffer: ByteBuffer

    /** Which delegate runs the model. */
    val delegation: Delegation

    /** One inference on [inputBuffer]; returns its nanoseconds, without the copies in and out. */
    fun run(): Long
}

/** Where the inferences are done. */
enum class Accelerator { CPU, GPU }

/** Makes classifiers; the app has [LiteRt], tests have others. */
interface Runtime {
    /** The runtime's name and version, for the record. */
    val name: String
    val version: String

    /**
     * Loads a whole .tflite file from a direct or mapped buffer.
     *
     * @throws dev.edgekit.demo.record.Refusal for a file that the runtime does not load, for more than one input or
     * output, and for types that the app does not feed; also where [accelerator] is not to be had: the message is the
     * reason to show before falling back to the CPU.
     */
    fun open(model: ByteBuffer, threads: Int, accelerator: Accelerator = Accelerator.CPU): Classifier
}
