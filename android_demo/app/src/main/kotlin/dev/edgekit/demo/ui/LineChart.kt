package dev.edgekit.demo.ui

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.graphics.Path
import android.util.AttributeSet
import android.util.TypedValue
import android.view.View
import dev.edgekit.demo.R
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.log10
import kotlin.math.pow

/** A small chart of milliseconds over seconds, from zero up, so that a small change looks small. */
class LineChart(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private var series: Series? = null

    private val colours = intArrayOf(R.color.accent, R.color.second, R.color.text_quiet).map { context.getColor(it) }
    private val line = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        style = Paint.Style.STROKE
        strokeWidth = dp(2.5f)
        strokeCap = Paint.Cap.ROUND
        strokeJoin = Paint.Join.ROUND
    }
    private val dot = Paint(Paint.ANTI_ALIAS_FLAG)
    private val grid = Paint().apply {
        color = context.getColor(R.color.outline)
        strokeWidth = dp(1f)
    }
    private val text = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = context.getColor(R.color.text_quiet)
        textSize = sp(12f)
    }
    private val path = Path()

    /** Draws these lines from now on; call again when they grow. */
    fun show(shown: Series) {
        val rows = shown.names.size
        if (series?.names?.size != rows) requestLayout()
        series = shown
        contentDescription = describe(shown)
        invalidate()
    }

    override fun onMeasure(widthSpec: Int, heightSpec: Int) {
        val legend = (series?.names?.size ?: 0) * rowHeight()
        val height = resolveSize((dp(150f) + 2 * rowHeight() + legend).toInt(), heightSpec)
        setMeasuredDimension(getDefaultSize(suggestedMinimumWidth, widthSpec), height)
    }

    override fun onDraw(canvas: Canvas) {
        val shown = series ?: return
        val legend = shown.names.size * rowHeight()
        val top = rowHeight() / 2
        val bottom = height - legend - rowHeight() * 1.4f
        val step = step(shown.slowest)
        val most = maxOf(step, ceil(shown.slowest / step) * step)
        val left = text.measureText(label(most)) + dp(8f)
        val right = width - dp(6f)
        drawGrid(canvas, step, most, left, right, top, bottom)
        canvas.drawText("0 s", left, bottom + rowHeight(), text)
        val end = Figures.duration(shown.lastSecond)
        canvas.drawText(end, right - text.measureText(end), bottom + rowHeight(), text)
        val seconds = maxOf(shown.lastSecond, 1e-9)
        shown.points.forEachIndexed { number, points ->
            drawLine(canvas, number, points) { point ->
                val x = left + (right - left) * (point.seconds / seconds).toFloat()
                x to bottom - (bottom - top) * (point.milliseconds / most).toFloat()
            }
            drawName(canvas, number, shown, height - legend + (number + 0.75f) * rowHeight())
        }
    }

    private fun drawGrid(
        canvas: Canvas, step: Double, most: Double, left: Float, right: Float, top: Float, bottom: Float,
    ) {
        for (at in 0..(most / step + 0.5).toInt()) {
            val y = bottom - (bottom - top) * (at * step / most).toFloat()
            canvas.drawLine(left, y, right, y, grid)
            canvas.drawText(label(at * step), 0f, y + text.textSize * 0.35f, text)
        }
    }

    private fun drawLine(
        canvas: Canvas, number: Int, points: List<Series.Point>, place: (Series.Point) -> Pair<Float, Float>,
    ) {
        if (points.isEmpty()) return
        val colour = colours[number % colours.size]
        path.reset()
        points.forEachIndexed { at, point ->
            val (x, y) = place(point)
            if (at == 0) path.moveTo(x, y) else path.lineTo(x, y)
        }
        line.color = colour
        canvas.drawPath(path, line)
        dot.color = colour
        val (x, y) = place(points.last())
        canvas.drawCircle(x, y, dp(3.5f), dot)
    }

    private fun drawName(canvas: Canvas, number: Int, shown: Series, y: Float) {
        dot.color = colours[number % colours.size]
        canvas.drawCircle(dp(5f), y - text.textSize * 0.35f, dp(4f), dot)
        canvas.drawText(named(shown, number), dp(16f), y, text)
    }

    private fun describe(shown: Series): String =
        if (shown.isEmpty) context.getString(R.string.chart_empty)
        else shown.names.indices.joinToString(". ") { said(shown, it) }

    /** For the eye, which sees the line: short. */
    private fun named(shown: Series, number: Int): String {
        val last = shown.points[number].lastOrNull() ?: return shown.names[number]
        return context.getString(R.string.chart_name, shown.names[number], Figures.milliseconds(last.milliseconds * 1e6))
    }

    private fun said(shown: Series, number: Int): String {
        val last = shown.points[number].lastOrNull() ?: return shown.names[number]
        val now = Figures.milliseconds(last.milliseconds * 1e6)
        val change = shown.change(number) ?: return context.getString(R.string.chart_line, shown.names[number], now)
        return context.getString(R.string.chart_change, shown.names[number], now, Figures.ratio(change))
    }

    /** One, two or five times a power of ten, so that three to six lines fit. */
    private fun step(most: Double): Double {
        val rough = maxOf(most, 1e-3) / 3
        val power = 10.0.pow(floor(log10(rough)))
        return power * listOf(1.0, 2.0, 5.0).last { it * power <= rough * 1.0001 }
    }

    private fun label(milliseconds: Double): String =
        Figures.decimal(milliseconds, if (milliseconds == floor(milliseconds)) 0 else 1)

    private fun rowHeight(): Float = text.textSize * 1.6f

    private fun dp(value: Float) = TypedValue.applyDimension(TypedValue.COMPLEX_UNIT_DIP, value, resources.displayMetrics)

    private fun sp(value: Float) = TypedValue.applyDimension(TypedValue.COMPLEX_UNIT_SP, value, resources.displayMetrics)
}
