package dev.edgekit.demo.record

import java.nio.Buffer
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.CRC32
import java.util.zip.DataFormatException
import java.util.zip.Inflater

/**
 * The members of a zip archive at the end of other bytes, which java.util.zip reads from whole files alone.
 *
 * The format: PKWARE's APPNOTE.TXT 4.3; positions count from where the archive's own bytes would begin.
 */
internal object ZipTail {
    private const val END_MARK = 0x06054b50
    private const val END_BYTES = 22
    private const val MAX_COMMENT = 0xffff
    private const val ENTRY_MARK = 0x02014b50
    private const val ENTRY_BYTES = 46
    private const val LOCAL_MARK = 0x04034b50
    private const val LOCAL_BYTES = 30
    private const val STORED = 0
    private const val DEFLATED = 8
    private const val MAX_MEMBER_BYTES = 1 shl 24

    /** Content by name; empty where there is no archive. Members of 16 MB and more are passed over. */
    fun read(content: ByteBuffer): Map<String, ByteArray> {
        val bytes = content.duplicate().order(ByteOrder.LITTLE_ENDIAN)
        val end = findEnd(bytes) ?: return emptyMap()
        try {
            return members(bytes, end)
        } catch (error: IndexOutOfBoundsException) {
            throw damaged("it points outside of the file", error)
        } catch (error: IllegalArgumentException) { // of Buffer.position and Buffer.limit
            throw damaged("it points outside of the file", error)
        }
    }

    private fun findEnd(bytes: ByteBuffer): Int? {
        val last = bytes.limit() - END_BYTES
        for (position in last downTo maxOf(0, last - MAX_COMMENT)) {
            if (bytes.getInt(position) == END_MARK && position + END_BYTES + short(bytes, position + 20) == bytes.limit()) {
                return position
            }
        }
        return null
    }

    private fun members(bytes: ByteBuffer, end: Int): Map<String, ByteArray> {
        val count = short(bytes, end + 10)
        val start = end - bytes.getInt(end + 12)
        val origin = start - bytes.getInt(end + 16)
        val found = LinkedHashMap<String, ByteArray>()
        var entry = start
        repeat(count) {
            if (bytes.getInt(entry) != ENTRY_MARK) throw damaged("an entry lacks its mark")
            val nameBytes = short(bytes, entry + 28)
            val name = String(slice(bytes, entry + ENTRY_BYTES, nameBytes), Charsets.UTF_8)
            if (bytes.getInt(entry + 24) in 0 until MAX_MEMBER_BYTES) found[name] = member(bytes, entry, origin, name)
            entry += ENTRY_BYTES + nameBytes + short(bytes, entry + 30) + short(bytes, entry + 32)
        }
        return found
    }

    private fun member(bytes: ByteBuffer, entry: Int, origin: Int, name: String): ByteArray {
        val local = origin + bytes.getInt(entry + 42)
        if (bytes.getInt(local) != LOCAL_MARK) throw damaged("$name is not where it should be")
        val start = local + LOCAL_BYTES + short(bytes, local + 26) + short(bytes, local + 28)
        val packed = slice(bytes, start, bytes.getInt(entry + 20))
        val content = when (short(bytes, entry + 10)) {
            STORED -> packed
            DEFLATED -> inflate(packed, bytes.getInt(entry + 24), name)
            else -> throw damaged("$name is packed in an unknown way")
        }
        val sum = CRC32().apply { update(content) }.value
        if (sum != bytes.getInt(entry + 16).toLong() and 0xffffffffL) throw damaged("$name has another checksum")
        return content
    }

    private fun inflate(packed: ByteArray, size: Int, name: String): ByteArray {
        val inflater = Inflater(true)
        try {
            inflater.setInput(packed)
            val content = ByteArray(size)
            var done = 0
            while (done < size) {
                val more = inflater.inflate(content, done, size - done)
                if (more == 0) throw damaged("$name is cut short")
                done += more
            }
            return content
        } catch (error: DataFormatException) {
            throw damaged("$name cannot be unpacked", error)
        } finally {
            inflater.end()
        }
    }

    private fun slice(bytes: ByteBuffer, start: Int, size: Int): ByteArray {
        if (start < 0 || size < 0 || size > bytes.limit() - start) throw damaged("it points outside of the file")
        val view = bytes.duplicate()
        view.seek(start)
        return ByteArray(size).also { view.get(it) }
    }

    private fun short(bytes: ByteBuffer, position: Int): Int = bytes.getShort(position).toInt() and 0xffff

    private fun damaged(how: String, cause: Exception? = null): Refusal =
        Refusal("the zip tail with the card is damaged: $how; export the model again, or copy it again", cause)
}

/** Sets the position; by way of Buffer, for Android 8's ByteBuffer has no method of this name of its own. */
internal fun Buffer.seek(position: Int) {
    position(position)
}
