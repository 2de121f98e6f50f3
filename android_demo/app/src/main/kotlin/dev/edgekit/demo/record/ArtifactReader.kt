package dev.edgekit.demo.record

import java.nio.ByteBuffer

/** Reads the card, labels and golden vector that `edgekit export` puts behind a .tflite, as a zip tail. */
object ArtifactReader {
    /** The newest card that this app understands. */
    const val CARD_SCHEMA = 1

    /**
     * The artifact in [content], a whole file (position 0 to limit; the position is left alone).
     *
     * @param name the file's name, with or without `.tflite`
     * @throws Refusal for what is no model, for one without a card, for a card that is damaged or newer, and where the
     * number of labels is not that of the classes.
     */
    fun read(name: String, content: ByteBuffer): Artifact = TODO("$name $content")
}
