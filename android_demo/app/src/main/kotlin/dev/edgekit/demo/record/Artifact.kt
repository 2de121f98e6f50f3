package dev.edgekit.demo.record

/** The order in which a network takes the three channels of a pixel. */
enum class ChannelOrder { RGB, BGR }

/** What a network's first output means: a softmax, a sigmoid (several classes may be true), or neither yet. */
enum class OutputKind { PROBABILITIES, SCORES, LOGITS }

/**
 * How an image becomes the network's input, as `edgekit.spec.InputSpec` has it.
 *
 * The image is resized so that its shorter side has [resizeShorter] pixels (bilinear), a centre crop of [height] x
 * [width] is taken, channels are put in the order of [channels], and each value becomes `(pixel - mean) / std` with
 * pixels on 0..255 and [mean] and [std], three values each, in that same order.
 */
data class InputSpec(
    val height: Int,
    val width: Int,
    val resizeShorter: Int,
    val channels: ChannelOrder = ChannelOrder.RGB,
    val mean: List<Float> = listOf(0f, 0f, 0f),
    val std: List<Float> = listOf(1f, 1f, 1f),
)

/** What the app needs to know of a model to use it; `edgekit.artifact.Card` holds more. */
data class Card(
    val model: String,
    val classes: Int,
    val input: InputSpec,
    val recipe: String,
    val output: OutputKind,
    val weightsSource: String,
)

/** A known answer: [pixels], 16 x 16 RGB, fill the input by repetition; [output] is the output tensor's bytes. */
class Golden(val pixels: ByteArray, val output: ByteArray)

/** A model file as it says of itself; [labels] is empty where it names no classes, [sha256] is of the whole file. */
class Artifact(
    val name: String,
    val sha256: String,
    val sizeBytes: Long,
    val card: Card,
    val labels: List<String>,
    val golden: Golden?,
) {
    /** The name of a class, or its number where the file has no names. */
    fun label(number: Int): String = labels.getOrNull(number) ?: "class $number"
}
