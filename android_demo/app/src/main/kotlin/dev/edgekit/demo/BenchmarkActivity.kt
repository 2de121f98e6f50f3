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
import dev.edgekit.demo.ui.keepClear
import java.io.File

/** What a computer starts by `am start`, see docs/android-contract.md: measures one model, writes one file. */
class BenchmarkActivity : Activity() {
    private val app get() = application as DemoApplication
    private val headless by lazy {
        app.headless(Answers(getExternalFilesDir("results") ?: File(filesDir, "results")))
    }

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        setContentView(R.layout.measuring)
        findViewById<View>(R.id.root).keepClear()
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        val request = intent.getStringExtra("request").orEmpty()
        try {
            findViewById<TextView>(R.id.name).text = Request.parse(request).name
        } catch (_: Refusal) {
            // It is answered with its reason all the same, if anybody waits for it.
        }
        app.measuring.execute { answer(request) }
    }

    override fun onDestroy() {
        if (isFinishing) headless.cancel()
        super.onDestroy()
    }

    private fun answer(request: String) {
        val said = try {
            val id = headless.run(request, Showing())
            Log.i(TAG, "edgekit: $id done")
            if (id == null) getString(R.string.no_request) else getString(R.string.measured)
        } catch (refusal: Refusal) {
            Log.e(TAG, "edgekit: ${refusal.message}")
            getString(R.string.measuring_refused, refusal.message)
        }
        app.main.execute { say(said) }
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
