package dev.edgekit.demo.ui

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.net.Uri
import dev.edgekit.demo.inference.Orientation
import dev.edgekit.demo.record.Refusal
import java.io.ByteArrayOutputStream
import java.io.IOException
import java.io.InputStream

/** Pictures of other apps as pixels, not scaled: the model's own preprocessing does that, as on every machine. */
object PictureReader {
    private const val MOST_BYTES = 64 * 1024 * 1024
    private const val MOST_PIXELS = 16_000_000L

    /** @throws Refusal for what cannot be read or is no picture. */
    fun read(resolver: ContentResolver, uri: Uri): Picture = decode(content(resolver, uri))

    /** The pixels of an image file; halved until they fit where there are more than 16 million. */
    fun decode(content: ByteArray): Picture {
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        BitmapFactory.decodeByteArray(content, 0, content.size, bounds)
        if (bounds.outWidth <= 0 || bounds.outHeight <= 0) throw damaged()
        val options = BitmapFactory.Options().apply {
            inSampleSize = sampleSize(bounds.outWidth, bounds.outHeight)
            inPreferredConfig = Bitmap.Config.ARGB_8888
        }
        val bitmap = BitmapFactory.decodeByteArray(content, 0, content.size, options) ?: throw damaged()
        val pixels = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(pixels, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        return Picture(pixels, bitmap.width, bitmap.height, Orientation.ofJpeg(content)).also { bitmap.recycle() }
    }

    /** The least power of two that brings a picture below the limit. */
    fun sampleSize(width: Int, height: Int): Int {
        var size = 1
        while (width.toLong() * height / (size.toLong() * size) > MOST_PIXELS) size *= 2
        return size
    }

    private fun content(resolver: ContentResolver, uri: Uri): ByteArray =
        try {
            val stream = resolver.openInputStream(uri) ?: throw IOException("nothing behind the address")
            stream.use { bounded(it) }
        } catch (error: IOException) {
            throw Refusal("the picture cannot be read: ${error.message}; choose another", error)
        } catch (error: SecurityException) {
            throw Refusal("the other app does not give the picture away; choose another", error)
        }

    private fun bounded(stream: InputStream): ByteArray {
        val content = ByteArrayOutputStream()
        val part = ByteArray(64 * 1024)
        while (true) {
            val count = stream.read(part)
            if (count < 0) return content.toByteArray()
            content.write(part, 0, count)
            if (content.size() > MOST_BYTES) throw Refusal("the picture has more than 64 MB; choose a smaller one")
        }
    }

    private fun damaged() = Refusal("the file is no picture that this phone can read, or is damaged; choose another")
}
