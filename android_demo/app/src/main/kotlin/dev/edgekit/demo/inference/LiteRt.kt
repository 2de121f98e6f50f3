package dev.edgekit.demo.inference

import dev.edgekit.demo.record.Delegation
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.record.seek
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Delegate
import org.tensorflow.lite.Interpreter
import org.tensorflow.lite.Tensor
import org.tensorflow.lite.TensorFlowLite
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** TensorFlow Lite's Java API, which LiteRT keeps: XNNPACK on the CPU, or the GPU delegate. */
object LiteRt : Runtime {
    private const val GPU_DELEGATE = "org.tensorflow.lite.gpu.GpuDelegate"

    override val name = "LiteRT"

    override val version: String get() = TensorFlowLite.runtimeVersion()

    override fun open(model: ByteBuffer, threads: Int, accelerator: Accelerator): Classifier {
        val delegate = if (accelerator == Accelerator.GPU) gpu() else null
        try {
            return LiteRtClassifier(interpreter(model, threads, delegate), delegate)
        } catch (error: Throwable) { // what is already open is closed whatever comes
            delegate?.close()
            throw refusal(error, accelerator)
        }
    }

    private fun interpreter(model: ByteBuffer, threads: Int, delegate: Delegate?): Interpreter {
        val options = Interpreter.Options().setNumThreads(threads)
        if (delegate != null) options.addDelegate(delegate) else options.setUseXNNPACK(true)
        val interpreter = Interpreter(model, options)
        try {
            interpreter.allocateTensors()
            return interpreter
        } catch (error: Throwable) {
            interpreter.close()
            throw error
        }
    }

    /** By its name: an app that is built without the GPU's libraries has no such class, or none of its code. */
    private fun gpu(): Delegate = try {
        Class.forName(GPU_DELEGATE).getConstructor().newInstance() as Delegate
    } catch (error: ReflectiveOperationException) {
        throw withoutGpu(error.cause ?: error)
    } catch (error: LinkageError) {
        throw withoutGpu(error)
    }

    private fun withoutGpu(cause: Throwable): Refusal {
        val found = if (cause is LinkageError || cause is ClassNotFoundException) "this build is without it" else "$cause"
        return Refusal("the GPU was asked for and its delegate cannot be loaded: $found; use the CPU", cause)
    }

    private fun refusal(error: Throwable, accelerator: Accelerator): Throwable = when (error) {
        is Refusal -> error
        is OutOfMemoryError -> Refusal("there is not enough memory for this model; close other apps", error)
        is IllegalArgumentException, is IllegalStateException, is UnsupportedOperationException -> {
            val where = if (accelerator == Accelerator.GPU) "the GPU" else "the runtime"
            Refusal("$where cannot run this model: ${error.message.orEmpty().trim()}; choose another", error)
        }
        else -> error
    }
}

private class LiteRtClassifier(private val interpreter: Interpreter, private val delegate: Delegate?) : Classifier {
    override val input: TensorInfo
    override val output: TensorInfo
    override val inputBuffer: ByteBuffer
    override val outputBuffer: ByteBuffer

    // The runtime does not tell Java how many operators a delegate took.
    override val delegation = Delegation("${if (delegate == null) "XNNPACK" else "GPU"}, share not told", 0, 0)
    private val inputs: Array<Any>
    private val outputs: Map<Int, Any>

    init {
        try {
            val ends = "${interpreter.inputTensorCount} inputs and ${interpreter.outputTensorCount} outputs"
            if (ends != "1 inputs and 1 outputs") {
                throw Refusal("the model has $ends; only those with one of each can be used")
            }
            input = info(interpreter.getInputTensor(0), "input")
            output = info(interpreter.getOutputTensor(0), "output")
        } catch (error: Throwable) {
            interpreter.close()
            throw error
        }
        inputBuffer = ByteBuffer.allocateDirect(input.bytes).order(ByteOrder.nativeOrder())
        outputBuffer = ByteBuffer.allocateDirect(output.bytes).order(ByteOrder.nativeOrder())
        inputs = arrayOf(inputBuffer)
        outputs = mapOf(0 to outputBuffer)
    }

    override fun run(): Long {
        inputBuffer.seek(0)
        outputBuffer.seek(0)
        interpreter.runForMultipleInputsOutputs(inputs, outputs)
        return interpreter.lastNativeInferenceDurationNanoseconds ?: throw IllegalStateException("no inference ran")
    }

    override fun close() {
        interpreter.close()
        delegate?.close()
    }

    private fun info(tensor: Tensor, which: String): TensorInfo {
        val type = when (tensor.dataType()) {
            DataType.FLOAT32 -> ElementType.FLOAT32
            DataType.INT8 -> ElementType.INT8
            DataType.UINT8 -> ElementType.UINT8
            DataType.INT16 -> ElementType.INT16
            else -> throw Refusal(
                "the model's $which is ${tensor.dataType()}; float32, int8, uint8 and int16 can be used: export it so",
            )
        }
        val steps = tensor.quantizationParams()
        return TensorInfo(tensor.shape().asList(), type, steps.scale, steps.zeroPoint)
    }
}
