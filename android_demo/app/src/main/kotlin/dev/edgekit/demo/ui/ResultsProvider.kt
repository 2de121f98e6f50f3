package dev.edgekit.demo.ui

import android.content.ContentProvider
import android.content.ContentValues
import android.content.Context
import android.database.Cursor
import android.database.MatrixCursor
import android.net.Uri
import android.os.ParcelFileDescriptor
import android.provider.OpenableColumns
import java.io.File
import java.io.FileNotFoundException

/** Lets another app read the results file, and nothing else, once the user has shared it. */
class ResultsProvider : ContentProvider() {
    override fun onCreate(): Boolean = true

    override fun getType(uri: Uri): String = TYPE

    override fun openFile(uri: Uri, mode: String): ParcelFileDescriptor {
        val shared = context?.let { file(it) }
        if (uri.lastPathSegment != NAME || mode != "r" || shared == null || !shared.exists()) {
            throw FileNotFoundException("$uri cannot be opened to $mode")
        }
        return ParcelFileDescriptor.open(shared, ParcelFileDescriptor.MODE_READ_ONLY)
    }

    override fun query(
        uri: Uri,
        projection: Array<out String>?,
        selection: String?,
        selectionArgs: Array<out String>?,
        sortOrder: String?,
    ): Cursor {
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        val cursor = MatrixCursor(columns)
        if (uri.lastPathSegment == NAME) cursor.addRow(arrayOf<Any?>(NAME, context?.let { file(it)?.length() }))
        return cursor
    }

    override fun insert(uri: Uri, values: ContentValues?): Uri? = null

    override fun update(uri: Uri, values: ContentValues?, where: String?, arguments: Array<out String>?): Int = 0

    override fun delete(uri: Uri, where: String?, arguments: Array<out String>?): Int = 0

    companion object {
        private const val NAME = "results.jsonl"
        const val TYPE = "application/x-ndjson"
        val address: Uri = Uri.parse("content://dev.edgekit.demo.results/$NAME")

        /** Where all results go; null while the phone's storage is away. */
        fun file(context: Context): File? = context.getExternalFilesDir("results")?.let { File(it, NAME) }
    }
}
