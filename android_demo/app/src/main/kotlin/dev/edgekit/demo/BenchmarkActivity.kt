package dev.edgekit.demo

import android.app.Activity
import android.os.Bundle
import android.util.Log
import android.view.View
import android.view.WindowManager
import android.widget.ProgressBar
import android.widget.TextView
import dev.edgekit.demo.bench.Answers
import dev.edgekit.demo.bench.Progress
import dev.edgekit.demo.bench.Request
import dev.edgekit.demo.record.Refusal
import dev.edgekit.demo.ui.Headless
import dev.edgekit.demo.ui.keepClear
import java.io.File

/** What a computer starts by `am start`, see docs/android-contract.md: measures one model, writes one file. */
class BenchmarkActivity : Activity() {
    private val app get() = application as DemoApplication
    private var cancel: () -> Unit = {}

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.measuring)
        findViewById<View>(R.id.root).keepClear()
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        try {
            begin(Request.parse(intent.getStringExtra("request").orEmpty()))
        } catch (refusal: Refusal) {
            Log.e(TAG, "edgekit: ${refusal.message}")
            say(getString(R.string.measuring_refused, refusal.message))
        }
    }

    override fun onDestroy() {
        if (isFinishing) cancel()
        super.onDestroy()
    }

    private fun begin(request: Request) {
        val folder = getExternalFilesDir("results") ?: File(filesDir, "results")
        val bench = app.bench()
        cancel = bench::cancel
        findViewById<TextView>(R.id.name).text = request.name
        app.measuring.execute {
            Headless(bench, Answers(folder)).answer(request, Showing())
            Log.i(TAG, "edgekit: ${request.id} done")
            app.main.execute { say(getString(R.string.measured)) }
        }
    }

    private fun say(text: String) {
        findViewById<TextView>(R.id.title).text = text
        findViewById<View>(R.id.bar).visibility = View.INVISIBLE
        findViewById<View>(R.id.what).visibility = View.INVISIBLE
        window.clearFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
    }

    private inner class Showing : Progress {
        override fun at(share: Double, what: String) = app.main.execute {
            findViewById<ProgressBar>(R.id.bar).progress = (share * 1000).toInt()
        }
    }

    private companion object {
        const val TAG = "edgekit"
    }
}
