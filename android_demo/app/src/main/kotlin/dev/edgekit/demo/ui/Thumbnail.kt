package dev.edgekit.demo.ui

import android.graphics.Bitmap
import android.graphics.Matrix

/** A picture as it is shown: upright, no larger than a screen. */
object Thumbnail {
    private const val LONGEST = 1280

    fun of(picture: Picture): Bitmap {
        val step = maxOf(1, maxOf(picture.width, picture.height) / LONGEST)
        val width = maxOf(1, picture.width / step)
        val height = maxOf(1, picture.height / step)
        val pixels = IntArray(width * height) { at ->
            picture.pixels[at / width * step * picture.width + at % width * step] or OPAQUE
        }
        return upright(Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888), picture)
    }

    private fun upright(bitmap: Bitmap, picture: Picture): Bitmap {
        val turn = picture.orientation
        val matrix = Matrix()
        if (turn.transposed) matrix.setValues(floatArrayOf(0f, 1f, 0f, 1f, 0f, 0f, 0f, 0f, 1f))
        matrix.postScale(if (turn.mirrored) -1f else 1f, if (turn.flipped) -1f else 1f)
        return if (matrix.isIdentity) bitmap else Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, matrix, true)
    }

    private const val OPAQUE = 0xFF shl 24
}
