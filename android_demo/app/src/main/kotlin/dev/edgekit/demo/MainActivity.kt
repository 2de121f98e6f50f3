package dev.edgekit.demo

import android.app.Activity
import android.content.Intent
import android.content.pm.PackageManager
import android.os.Bundle
import android.view.View
import android.view.ViewGroup
import android.view.WindowManager
import dev.edgekit.demo.ui.BenchmarkScreen
import dev.edgekit.demo.ui.BenchmarkState
import dev.edgekit.demo.ui.ClassifyScreen
import dev.edgekit.demo.ui.ModelsScreen
import dev.edgekit.demo.ui.Screen
import dev.edgekit.demo.ui.keepClear

/** The app's one window: three screens and the tabs between them. */
class MainActivity : Activity() {
    private val app get() = application as DemoApplication
    private val tabs by lazy { listOf(R.id.tab_classify, R.id.tab_models, R.id.tab_benchmark).map { findViewById<View>(it) } }
    private val screens by lazy {
        listOf(
            ClassifyScreen(this, app.classify, app.camera),
            ModelsScreen(this, app.library),
            BenchmarkScreen(this, app.benchmark) { follow(it) },
        )
    }
    private var shown = 0
    private var started = false

    private val screen: Screen get() = screens[shown]

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.main)
        findViewById<View>(R.id.root).keepClear()
        tabs.forEachIndexed { number, tab -> tab.setOnClickListener { show(number) } }
        if (app.library.models.isEmpty()) app.library.refresh()
        shown = state?.getInt(SHOWN) ?: 0
        put()
    }

    override fun onStart() {
        super.onStart()
        started = true
        screen.start()
    }

    override fun onStop() {
        started = false
        screen.stop()
        super.onStop()
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putInt(SHOWN, shown)
    }

    override fun onActivityResult(request: Int, code: Int, answer: Intent?) {
        if (code == RESULT_OK && answer != null) screen.result(request, answer)
    }

    override fun onRequestPermissionsResult(request: Int, names: Array<out String>, answers: IntArray) {
        if (answers.isNotEmpty()) screen.permission(answers[0] == PackageManager.PERMISSION_GRANTED)
    }

    /** Goes to the screen with this number, 0 to 2. */
    fun show(number: Int) {
        if (number == shown) return
        if (started) screen.stop()
        shown = number
        put()
        if (started) screen.start()
    }

    private fun put() {
        val content = findViewById<ViewGroup>(R.id.content)
        content.removeAllViews()
        content.addView(screen.view)
        tabs.forEachIndexed { number, tab -> tab.isSelected = number == shown }
    }

    /** While it measures the phone stays awake, and no other screen takes its processor. */
    private fun follow(state: BenchmarkState) {
        val measures = state.running != null
        val awake = WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON
        if (measures) window.addFlags(awake) else window.clearFlags(awake)
        tabs.forEach {
            it.isEnabled = !measures
            it.alpha = if (measures && !it.isSelected) 0.4f else 1f
        }
    }

    private companion object {
        const val SHOWN = "shown"
    }
}
