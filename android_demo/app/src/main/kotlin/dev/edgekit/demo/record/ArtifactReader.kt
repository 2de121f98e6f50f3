package dev.edgekit.demo.record

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

/** Reads the card, labels and golden vector that `edgekit export` puts behind a .tflite, as a zip tail. */
object ArtifactReader {
    /** The newest card that this app understands. */
    const val CARD_SCHEMA = 1
    private const val SUFFIX = ".tflite"
    private const val MINIATURE_BYTES = 16 * 16 * 3
    private const val MARK = 0x334c4654 // "TFL3", at byte 4 of every TFLite flatbuffer
    private val INPUT_FIELDS = setOf("height", "width", "resize_shorter", "channels", "mean", "std")

    /**
     * The artifact in [content], a whole file (byte 0 to limit; the position is left alone).
     *
     * @param name the file's name, with or without `.tflite`
     * @throws Refusal for what is no model, for one without a card, for a card that is damaged or newer, and where the
     * number of labels is not that of the classes.
     */
    fun read(name: String, content: ByteBuffer): Artifact {
        checkMark(name, content)
        val members = ZipTail.read(content)
        val card = card(name, members["edgekit.json"] ?: throw withoutCard(name))
        val labels = lines(name, members["labels.txt"])
        if (labels.isNotEmpty() && labels.size != card.classes) {
            val found = "${labels.size} labels for ${card.classes} classes"
            throw Refusal("$name: its labels do not match: $found; export the model again")
        }
        return Artifact(
            name = name.removeSuffix(SUFFIX),
            sha256 = sha256(content),
            sizeBytes = content.limit().toLong(),
            card = card,
            labels = labels,
            golden = golden(name, members),
        )
    }

    /** The sha256 of a whole file, in hexadecimal. */
    fun sha256(content: ByteBuffer): String {
        val digest = MessageDigest.getInstance("SHA-256")
        digest.update(content.duplicate().also { it.seek(0) })
        return digest.digest().joinToString("") { Integer.toHexString(it.toInt() and 0xff or 0x100).substring(1) }
    }

    private fun checkMark(name: String, content: ByteBuffer) {
        if (content.limit() == 0) throw Refusal("$name is empty; a .tflite file was expected")
        val bytes = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
        if (bytes.limit() < 8 || bytes.getInt(4) != MARK) {
            throw Refusal("$name is no .tflite file: it lacks the mark TFL3; open a model that edgekit exported")
        }
    }

    private fun withoutCard(name: String) = Refusal(
        "$name has no card, so nothing says what its input and its classes are; make one with: edgekit export",
    )

    private fun card(name: String, content: ByteArray): Card {
        val fields = readable(name) { Json.parseObject(String(content, Charsets.UTF_8), "the card") }
        checkSchema(name, fields)
        return readable(name) { decode(fields) }
    }

    private fun <T> readable(name: String, read: () -> T): T = try {
        read()
    } catch (error: Refusal) {
        throw Refusal("$name: its card cannot be read: ${error.message}; export the model again", error)
    }

    private fun checkSchema(name: String, fields: JsonObject) {
        val schema = fields.longOrNull("schema") ?: CARD_SCHEMA.toLong()
        if (schema > CARD_SCHEMA) {
            throw Refusal("$name: its card has schema $schema, this app knows $CARD_SCHEMA; update the app")
        }
    }

    private fun decode(fields: JsonObject) = Card(
        model = fields.text("model"),
        classes = fields.int("classes"),
        input = input(fields.child("input")),
        recipe = fields.child("recipe").text("name"),
        output = choice("output", fields.textOrNull("output") ?: "probabilities", OutputKind.values()),
        weightsSource = fields.child("weights").text("source"),
    )

    /** Fields that this app does not know would change the picture, so they are refused and not passed over. */
    private fun input(fields: JsonObject): InputSpec {
        val unknown = fields.names - INPUT_FIELDS
        if (unknown.isNotEmpty()) throw Refusal("the input has the unknown fields ${unknown.joinToString()}")
        return InputSpec(
            height = positive(fields, "height"),
            width = positive(fields, "width"),
            resizeShorter = positive(fields, "resize_shorter"),
            channels = choice("channels", fields.textOrNull("channels") ?: "RGB", ChannelOrder.values()),
            mean = three(fields, "mean", 0f),
            std = three(fields, "std", 1f),
        )
    }

    private fun positive(fields: JsonObject, name: String): Int {
        val value = fields.int(name)
        if (value !in 1..8192) throw Refusal("the field '$name' is $value; 1 to 8192 was expected")
        return value
    }

    private fun three(fields: JsonObject, name: String, otherwise: Float): List<Float> {
        if (!fields.has(name)) return List(3) { otherwise }
        val values = fields.doubles(name)
        if (values.size != 3) throw Refusal("the field '$name' has ${values.size} values; 3 were expected")
        return values.map { it.toFloat() }
    }

    private fun <T : Enum<T>> choice(field: String, word: String, values: Array<T>): T {
        val found = values.firstOrNull { it.name.equals(word, ignoreCase = true) }
        return found ?: throw Refusal("the field '$field' is '$word'; one of ${values.joinToString()} was expected")
    }

    private fun lines(name: String, content: ByteArray?): List<String> {
        if (content == null || content.isEmpty()) return emptyList()
        val decoder = Charsets.UTF_8.newDecoder() // reports what is malformed, where String would replace it
        try {
            return decoder.decode(ByteBuffer.wrap(content)).toString().split("\n")
        } catch (error: java.nio.charset.CharacterCodingException) {
            throw Refusal("$name: its labels are no UTF-8; export the model again", error)
        }
    }

    private fun golden(name: String, members: Map<String, ByteArray>): Golden? {
        val pixels = members["golden_pixels.bin"] ?: return null
        val output = members["golden_output.bin"] ?: return null
        if (pixels.size != MINIATURE_BYTES) {
            val found = "${pixels.size} bytes where $MINIATURE_BYTES were expected"
            throw Refusal("$name: its golden input has another size: $found; export the model again")
        }
        return Golden(pixels, output)
    }
}
