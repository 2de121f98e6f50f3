package dev.edgekit.demo.ui

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.net.Uri
import android.provider.OpenableColumns
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.TextView
import dev.edgekit.demo.R
import java.io.IOException

/** The models at hand: what each is, where it came from, and whether it works on this phone. */
class ModelsScreen(private val activity: Activity, private val library: Library) : Screen {
    override val view: View = LayoutInflater.from(activity).inflate(R.layout.models, null)

    private val list = view.findViewById<ViewGroup>(R.id.list)
    private val status = view.findViewById<TextView>(R.id.status)
    private val follow = { render() }

    init {
        view.findViewById<View>(R.id.open).setOnClickListener { open() }
    }

    override fun start() {
        library.listen(follow)
        library.refresh()
    }

    override fun stop() = library.forget(follow)

    override fun result(request: Int, answer: Intent) {
        val uri = answer.data ?: return
        val resolver = activity.contentResolver
        library.open(
            name(uri),
            { resolver.openInputStream(uri) ?: throw IOException("nothing behind the address") },
        ) { status.sayOrHide(it) }
    }

    private fun open() {
        val intent = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("*/*")
        try {
            activity.startActivityForResult(intent, MODEL)
        } catch (_: ActivityNotFoundException) {
            status.sayOrHide(activity.getString(R.string.no_gallery))
        }
    }

    /** The file's name, without what could lead out of a folder. */
    private fun name(uri: Uri): String {
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME)
        val told = activity.contentResolver.query(uri, columns, null, null, null)?.use {
            if (it.moveToFirst()) it.getString(0) else null
        }
        return Names.safe(told ?: uri.lastPathSegment.orEmpty())
    }

    private fun render() {
        status.sayOrHide(if (library.loading) activity.getString(R.string.loading) else null)
        list.rows(library.models.size, R.layout.model)
        library.models.forEachIndexed { at, model -> show(list.getChildAt(at), model) }
    }

    private fun show(card: View, model: Model) {
        card.findViewById<TextView>(R.id.name).say(model.name)
        card.findViewById<TextView>(R.id.origin).setText(ORIGINS.getValue(model.origin))
        card.findViewById<TextView>(R.id.facts).sayOrHide((model as? Ready)?.let { facts(it) })
        val (text, colour, icon) = when (model) {
            is Ready -> check(model)
            is Refused -> Triple(activity.getString(R.string.refused, model.reason), R.color.bad, R.drawable.icon_bad)
        }
        val check = card.findViewById<TextView>(R.id.check)
        check.say(text)
        check.setTextColor(activity.getColor(colour))
        check.setCompoundDrawablesRelativeWithIntrinsicBounds(icon, 0, 0, 0)
        check.compoundDrawableTintList = activity.getColorStateList(colour)
        val remove = card.findViewById<View>(R.id.remove)
        remove.visibility = if (model.origin == Origin.OPENED) View.VISIBLE else View.GONE
        remove.contentDescription = activity.getString(R.string.remove_spoken, model.name)
        remove.setOnClickListener { library.remove(model) }
    }

    private fun facts(model: Ready): String {
        val card = model.artifact.card
        return activity.getString(
            R.string.model_facts,
            card.input.width,
            card.input.height,
            card.input.channels.name,
            card.recipe,
            card.classes,
            Figures.megabytes(model.artifact.sizeBytes),
        )
    }

    private fun check(model: Ready): Triple<String, Int, Int> {
        val golden = model.golden
            ?: return Triple(activity.getString(R.string.golden_none), R.color.text_quiet, R.drawable.icon_bad)
        return when {
            golden.exact -> Triple(activity.getString(R.string.golden_exact), R.color.good, R.drawable.icon_good)
            golden.passed ->
                Triple(activity.getString(R.string.golden_close, golden.detail), R.color.good, R.drawable.icon_good)
            else -> Triple(activity.getString(R.string.golden_failed, golden.detail), R.color.bad, R.drawable.icon_bad)
        }
    }

    private companion object {
        const val MODEL = 3
        val ORIGINS = mapOf(
            Origin.BUILT_IN to R.string.origin_built_in,
            Origin.OPENED to R.string.origin_opened,
            Origin.PUSHED to R.string.origin_pushed,
        )
    }
}

/** Names that become files. */
object Names {
    /** Letters, digits, dots, dashes and underscores of a name, without folders and the `.tflite` at its end. */
    fun safe(name: String): String =
        name.substringAfterLast('/').removeSuffix(".tflite")
            .replace(Regex("[^A-Za-z0-9._-]"), "_").trimStart('.').take(80).ifEmpty { "model" }
}
