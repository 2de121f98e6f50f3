package dev.edgekit.demo.inference

/**
 * How stored pixels lie in the picture that a person sees: the eight values of EXIF's tag 0x0112.
 *
 * First the rows and columns are exchanged if [transposed], then [mirrored] left to right and [flipped] upside down.
 */
enum class Orientation(val transposed: Boolean, val mirrored: Boolean, val flipped: Boolean) {
    UPRIGHT(false, false, false),
    MIRRORED(false, true, false),
    ROTATED_180(false, true, true),
    FLIPPED(false, false, true),
    TRANSPOSED(true, false, false),
    ROTATED_90(true, true, false),
    TRANSVERSED(true, true, true),
    ROTATED_270(true, false, true);

    companion object {
        /** From EXIF's number, 1 to 8; anything else is upright, as viewers take it. */
        fun ofExif(number: Int): Orientation = values().getOrElse(number - 1) { UPRIGHT }

        /** From the clockwise degrees by which stored pixels are to be turned, a multiple of 90, any sign. */
        fun ofDegrees(clockwise: Int): Orientation = when (((clockwise % 360) + 360) % 360) {
            0 -> UPRIGHT
            90 -> ROTATED_90
            180 -> ROTATED_180
            270 -> ROTATED_270
            else -> throw IllegalArgumentException("$clockwise degrees; only multiples of 90 can be turned by")
        }

        /** The orientation that a JPEG's EXIF tag says, [UPRIGHT] where there is none or it cannot be read. */
        fun ofJpeg(content: ByteArray): Orientation = ofExif(Exif.orientation(content) ?: 1)
    }
}
