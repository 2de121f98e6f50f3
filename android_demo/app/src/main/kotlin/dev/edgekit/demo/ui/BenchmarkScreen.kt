package dev.edgekit.demo.ui

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ClipData
import android.content.Intent
import android.graphics.Typeface
import android.net.Uri
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.Button
import android.widget.CheckBox
import android.widget.ProgressBar
import android.widget.RadioButton
import android.widget.RadioGroup
import android.widget.ScrollView
import android.widget.TableLayout
import android.widget.TableRow
import android.widget.TextView
import dev.edgekit.demo.R
import dev.edgekit.demo.bench.Protocols
import dev.edgekit.demo.inference.Accelerator
import dev.edgekit.demo.record.State
import java.io.IOException

/** What to measure, how it goes, and what came out. */
class BenchmarkScreen(
    private val activity: Activity,
    private val presenter: BenchmarkPresenter,
    private val follow: (BenchmarkState) -> Unit,
) : Screen {
    override val view: View = LayoutInflater.from(activity).inflate(R.layout.benchmark, null)

    private val choices = view.findViewById<ViewGroup>(R.id.choices)
    private val start = view.findViewById<Button>(R.id.start)
    private val chart = view.findViewById<LineChart>(R.id.chart)
    private val table = view.findViewById<TableLayout>(R.id.table)
    private var drawn: Comparison? = null

    init {
        start.setOnClickListener { if (presenter.state.running == null) presenter.start() else presenter.cancel() }
        view.findViewById<View>(R.id.share).setOnClickListener { share() }
        view.findViewById<View>(R.id.save).setOnClickListener { save() }
        val counts = presenter.state.threadChoices
        segments(R.id.threads, counts.map { "$it" }, counts.indexOf(presenter.state.threads)) {
            presenter.threads(counts[it])
        }
        val places = Accelerator.values()
        segments(R.id.accelerator, listOf(R.string.cpu, R.string.gpu).map { activity.getString(it) },
            presenter.state.accelerator.ordinal) { presenter.accelerator(places[it]) }
        segments(R.id.protocol, PROTOCOLS.map { activity.getString(it) },
            Protocols.all.indexOf(presenter.state.protocol)) { presenter.protocol(Protocols.all[it]) }
    }

    override fun start() = presenter.attach(::render)

    override fun stop() = presenter.detach()

    override fun result(request: Int, answer: Intent) {
        val uri = answer.data ?: return
        val said = try {
            copy(uri)
            activity.getString(R.string.saved_done)
        } catch (error: IOException) {
            activity.getString(R.string.save_failed, error.message)
        }
        view.findViewById<TextView>(R.id.saved).say(said)
    }

    private fun copy(uri: Uri) {
        val file = ResultsProvider.file(activity) ?: throw IOException("the phone's storage is away")
        val target = activity.contentResolver.openOutputStream(uri, "wt") ?: throw IOException("nothing behind the address")
        target.use { to -> file.inputStream().use { it.copyTo(to) } }
    }

    private fun share() {
        val send = Intent(Intent.ACTION_SEND)
            .setType(ResultsProvider.TYPE)
            .putExtra(Intent.EXTRA_STREAM, ResultsProvider.address)
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        send.clipData = ClipData.newRawUri(null, ResultsProvider.address)
        activity.startActivity(Intent.createChooser(send, null))
    }

    private fun save() {
        val create = Intent(Intent.ACTION_CREATE_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE)
            .setType(ResultsProvider.TYPE)
            .putExtra(Intent.EXTRA_TITLE, "results.jsonl")
        try {
            activity.startActivityForResult(create, SAVE)
        } catch (_: ActivityNotFoundException) {
            view.findViewById<TextView>(R.id.saved).setText(R.string.no_gallery)
        }
    }

    private fun segments(id: Int, labels: List<String>, checked: Int, chosen: (Int) -> Unit) {
        val group = view.findViewById<RadioGroup>(id)
        if (activity.resources.configuration.fontScale > WIDE_FONT) group.orientation = RadioGroup.VERTICAL
        labels.forEachIndexed { number, label ->
            val button = LayoutInflater.from(activity).inflate(R.layout.segment, group, false) as RadioButton
            button.id = View.generateViewId()
            button.text = label
            button.isSaveEnabled = false
            if (group.orientation == RadioGroup.VERTICAL) button.layoutParams.width = ViewGroup.LayoutParams.MATCH_PARENT
            group.addView(button)
            button.isChecked = number == checked
            button.setOnClickListener { chosen(number) }
        }
    }

    private fun render(state: BenchmarkState) {
        follow(state)
        renderSetup(state)
        renderRun(state)
        renderResult(state)
        view.findViewById<TextView>(R.id.phone).say(state.phone?.let { describe(it) } ?: Figures.NONE)
        val saved = view.findViewById<View>(R.id.saved_card)
        saved.visibility = if (state.saved == 0 || state.running != null) View.GONE else View.VISIBLE
        view.findViewById<TextView>(R.id.saved)
            .say(activity.resources.getQuantityString(R.plurals.saved, state.saved, state.saved))
    }

    private fun renderSetup(state: BenchmarkState) {
        while (choices.childCount > state.choices.size) choices.removeViewAt(choices.childCount - 1)
        while (choices.childCount < state.choices.size) choices.addView(box())
        state.choices.forEachIndexed { at, choice ->
            val box = choices.getChildAt(at) as CheckBox
            box.setOnCheckedChangeListener(null)
            box.say(choice.name)
            box.isChecked = choice.chosen
            box.jumpDrawablesToCurrentState()
            box.setOnCheckedChangeListener { _, chosen -> presenter.choose(choice.name, chosen) }
        }
        view.findViewById<View>(R.id.setup).visibility = if (state.running == null) View.VISIBLE else View.GONE
        view.findViewById<TextView>(R.id.protocol_why)
            .say(activity.getString(R.string.protocol_why, Figures.duration(state.secondsPerModel)))
        start.setText(if (state.running == null) R.string.start else R.string.cancel)
        start.isEnabled = state.canStart || state.running != null
    }

    private fun box() = CheckBox(activity).apply {
        minimumHeight = resources.getDimensionPixelSize(R.dimen.touch)
        setTextAppearance(R.style.Text)
        isSaveEnabled = false
    }

    private fun renderRun(state: BenchmarkState) {
        view.findViewById<TextView>(R.id.error).sayOrHide(state.error)
        val running = state.running
        view.findViewById<View>(R.id.run).visibility = if (running == null) View.GONE else View.VISIBLE
        if (running != null) {
            view.findViewById<TextView>(R.id.run_what).say(running.what.ifEmpty { activity.getString(R.string.starting) })
            view.findViewById<ProgressBar>(R.id.run_bar).progress = (running.share * 1000).toInt()
        }
        val series = state.series
        val worth = series != null && !series.isEmpty
        view.findViewById<View>(R.id.chart_card).visibility = if (worth) View.VISIBLE else View.GONE
        if (series != null && worth) chart.show(series)
    }

    private fun renderResult(state: BenchmarkState) {
        val comparison = state.comparison
        view.findViewById<View>(R.id.result).visibility = if (comparison == null) View.GONE else View.VISIBLE
        if (comparison == null || comparison === drawn) return
        drawn = comparison
        view.findViewById<TextView>(R.id.summary).say(summary(comparison))
        view.findViewById<TextView>(R.id.reasons).sayOrHide(state.reasons.joinToString("\n"))
        table.removeAllViews()
        table.addView(row(null, comparison.models.map { Cell(it) }))
        view.post { (view as ScrollView).smoothScrollTo(0, view.findViewById<View>(R.id.result).top) }
        comparison.rows.forEach { (line, cells) -> table.addView(row(activity.getString(LINES.getValue(line)), cells)) }
    }

    private fun summary(comparison: Comparison): String {
        val two = comparison.summary ?: return activity.getString(R.string.summary_one)
        return activity.getString(R.string.summary_two, two.faster, Figures.ratio(two.times))
    }

    private fun row(name: String?, cells: List<Cell>): TableRow {
        val row = TableRow(activity)
        row.addView(cell(name.orEmpty(), R.style.Text_Quiet))
        cells.forEach { shown ->
            val view = cell(shown.text, if (name == null) R.style.Text_Quiet else R.style.Text_Cell)
            view.textAlignment = View.TEXT_ALIGNMENT_VIEW_END
            view.setTextColor(activity.getColor(TONES.getValue(shown.tone)))
            if (shown.tone == Tone.BEST || name == null) view.setTypeface(MEDIUM)
            row.addView(view)
        }
        row.contentDescription = (listOfNotNull(name) + cells.map { it.text }).joinToString(", ")
        return row
    }

    private fun cell(text: String, style: Int) = TextView(activity).apply {
        setTextAppearance(style)
        this.text = text
        val gap = resources.getDimensionPixelSize(R.dimen.gap)
        // Two models and the names of the lines side by side; more of them, or large type, scroll.
        maxWidth = maxOf((resources.displayMetrics.widthPixels - 8 * gap) / 3, (textSize * 6).toInt())
        setPadding(0, gap * 3 / 4, gap, gap * 3 / 4)
    }

    private fun describe(phone: State): String = listOfNotNull(
        activity.getString(R.string.thermal, activity.getString(THERMAL[phone.thermalStatus] ?: R.string.thermal_unknown)),
        phone.thermalHeadroom?.let { activity.getString(R.string.headroom, Figures.percent(it.toFloat())) },
        phone.powerSource?.let { activity.getString(R.string.power_source, it) },
        phone.frequencyKhz?.let { activity.getString(R.string.clock, Figures.decimal(it / 1e6, 2)) },
        if (phone.powerSave == true) activity.getString(R.string.power_save) else null,
    ).joinToString("\n")

    private companion object {
        const val SAVE = 4

        /** From here on words would break inside a segment, so segments stand below each other. */
        const val WIDE_FONT = 1.2f
        val MEDIUM: Typeface = Typeface.create("sans-serif-medium", Typeface.NORMAL)
        val PROTOCOLS = listOf(
            R.string.protocol_quick, R.string.protocol_standard, R.string.protocol_mlperf, R.string.protocol_sustained,
        )
        val LINES = mapOf(
            Line.MEDIAN to R.string.line_median,
            Line.NINETY to R.string.line_ninety,
            Line.FIRST to R.string.line_first,
            Line.LOAD to R.string.line_load,
            Line.ENERGY to R.string.line_energy,
            Line.SIZE to R.string.line_size,
            Line.RUNS to R.string.line_runs,
            Line.DELEGATE to R.string.line_delegate,
            Line.VERDICT to R.string.line_verdict,
        )
        val TONES = mapOf(
            Tone.PLAIN to R.color.text,
            Tone.BEST to R.color.accent,
            Tone.DOUBTFUL to R.color.warn,
            Tone.BAD to R.color.bad,
        )
        val THERMAL = mapOf(
            0 to R.string.thermal_0,
            1 to R.string.thermal_1,
            2 to R.string.thermal_2,
            3 to R.string.thermal_3,
            4 to R.string.thermal_4,
            5 to R.string.thermal_5,
            6 to R.string.thermal_6,
        )
    }
}
