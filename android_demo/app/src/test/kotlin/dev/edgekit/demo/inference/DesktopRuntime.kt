package dev.edgekit.demo.inference

import com.sun.jna.Memory
import com.sun.jna.NativeLibrary
import dev.edgekit.demo.record.Delegation
import dev.edgekit.demo.record.Refusal
import org.bytedeco.javacpp.BytePointer
import org.bytedeco.javacpp.Loader
import org.bytedeco.javacpp.Pointer
import org.bytedeco.tensorflowlite.TfLiteInterpreter
import org.bytedeco.tensorflowlite.TfLiteModel
import org.bytedeco.tensorflowlite.TfLiteOpaqueDelegateStruct
import org.bytedeco.tensorflowlite.TfLiteTensor
import org.bytedeco.tensorflowlite.global.tensorflowlite
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterAllocateTensors
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterCreate
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterDelete
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterGetInputTensor
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterGetOutputTensor
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterInvoke
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterOptionsAddDelegate
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterOptionsCreate
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterOptionsDelete
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteInterpreterOptionsSetNumThreads
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteModelCreate
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteModelDelete
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorByteSize
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorData
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorDim
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorNumDims
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorQuantizationParams
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteTensorType
import org.bytedeco.tensorflowlite.global.tensorflowlite.TfLiteVersion
import org.bytedeco.tensorflowlite.global.tensorflowlite.kTfLiteFloat32
import org.bytedeco.tensorflowlite.global.tensorflowlite.kTfLiteInt16
import org.bytedeco.tensorflowlite.global.tensorflowlite.kTfLiteInt8
import org.bytedeco.tensorflowlite.global.tensorflowlite.kTfLiteOk
import org.bytedeco.tensorflowlite.global.tensorflowlite.kTfLiteUInt8
import java.io.Closeable
import java.nio.ByteBuffer
import java.nio.ByteOrder
import com.sun.jna.Pointer as JnaPointer

/**
 * TensorFlow Lite on a desktop's JVM, by the C API that `org.bytedeco:tensorflow-lite` brings.
 *
 * Its XNNPACK leaves quantized operators alone unless it is told otherwise, and phones' does not. So the delegate is
 * made here, by a function that the library exports and does not map.
 */
internal object DesktopRuntime : Runtime {
    override val name = "TensorFlow Lite (bytedeco)"
    override val version: String get() = TfLiteVersion().string

    override fun open(model: ByteBuffer, threads: Int, accelerator: Accelerator): Classifier {
        if (accelerator == Accelerator.GPU) throw Refusal("a desktop's JVM has no GPU delegate; use the CPU")
        val pointer = BytePointer(model.duplicate().also { it.rewind() })
        val loaded = TfLiteModelCreate(pointer, model.limit().toLong())
            ?: throw Refusal("the runtime cannot run this model; choose another")
        val options = TfLiteInterpreterOptionsCreate()
        TfLiteInterpreterOptionsSetNumThreads(options, threads)
        val delegate = XnnPack(threads)
        TfLiteInterpreterOptionsAddDelegate(options, delegate.pointer)
        val interpreter: TfLiteInterpreter? = TfLiteInterpreterCreate(loaded, options)
        TfLiteInterpreterOptionsDelete(options)
        if (interpreter == null || TfLiteInterpreterAllocateTensors(interpreter) != kTfLiteOk) {
            throw Refusal("the runtime cannot run this model; choose another")
        }
        return DesktopClassifier(interpreter, loaded, pointer, delegate)
    }
}

/** The delegate of xnnpack_delegate.h with int8 and uint8 switched on. */
private class XnnPack(threads: Int) : Closeable {
    private val options = Memory(OPTIONS_BYTES).apply {
        clear()
        setInt(0, threads)
        setInt(4, QS8 or QU8)
    }
    private val handle: JnaPointer =
        library.getFunction("TfLiteXNNPackDelegateCreate").invoke(JnaPointer::class.java, arrayOf(options)) as JnaPointer
    val pointer = TfLiteOpaqueDelegateStruct(Address(JnaPointer.nativeValue(handle)))

    override fun close() {
        library.getFunction("TfLiteXNNPackDelegateDelete").invokeVoid(arrayOf(handle))
    }

    private class Address(value: Long) : Pointer() {
        init {
            address = value
        }
    }

    private companion object {
        const val OPTIONS_BYTES = 256L // more than any version of the struct has; what is not known stays 0
        const val QS8 = 1
        const val QU8 = 2
        val library: NativeLibrary = NativeLibrary.getInstance(Loader.load(tensorflowlite::class.java))
    }
}

/** [file] is kept, for the runtime reads weights from it as long as the interpreter lives. */
private class DesktopClassifier(
    private val interpreter: TfLiteInterpreter,
    private val model: TfLiteModel,
    private val file: Pointer,
    private val delegate: XnnPack,
) : Classifier {
    private val inputTensor = TfLiteInterpreterGetInputTensor(interpreter, 0)
    private val outputTensor = TfLiteInterpreterGetOutputTensor(interpreter, 0)
    override val input = info(inputTensor)
    override val output = info(outputTensor)
    override val inputBuffer = view(inputTensor)
    override val outputBuffer = view(outputTensor)
    override val delegation = Delegation("XNNPACK, share not told", 0, 0)

    override fun run(): Long {
        val start = System.nanoTime()
        check(TfLiteInterpreterInvoke(interpreter) == kTfLiteOk) { "the inference failed" }
        return System.nanoTime() - start
    }

    override fun close() {
        TfLiteInterpreterDelete(interpreter)
        TfLiteModelDelete(model)
        file.deallocate()
        delegate.close()
    }

    private fun view(tensor: TfLiteTensor): ByteBuffer {
        val data = BytePointer(TfLiteTensorData(tensor)).capacity(TfLiteTensorByteSize(tensor))
        return data.asByteBuffer().order(ByteOrder.nativeOrder())
    }

    private fun info(tensor: TfLiteTensor): TensorInfo {
        val shape = List(TfLiteTensorNumDims(tensor)) { TfLiteTensorDim(tensor, it) }
        val type = when (TfLiteTensorType(tensor)) {
            kTfLiteFloat32 -> ElementType.FLOAT32
            kTfLiteInt8 -> ElementType.INT8
            kTfLiteUInt8 -> ElementType.UINT8
            kTfLiteInt16 -> ElementType.INT16
            else -> throw Refusal("the type ${TfLiteTensorType(tensor)} cannot be used")
        }
        val steps = TfLiteTensorQuantizationParams(tensor)
        return TensorInfo(shape, type, steps.scale(), steps.zero_point())
    }
}
