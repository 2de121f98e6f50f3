package dev.edgekit.demo.ui

import android.annotation.TargetApi
import android.content.Intent
import android.os.Build
import android.view.View
import android.view.WindowInsets
import android.widget.TextView

/** One of the app's three screens; it works between [start] and [stop] only. */
interface Screen {
    val view: View

    fun start()
    fun stop()

    /** The answer of an activity that it started. */
    fun result(request: Int, answer: Intent) = Unit

    /** The answer to a question for a permission. */
    fun permission(granted: Boolean) = Unit
}

/** Keeps a view clear of the system's bars, the camera's cut-out and the keyboard, which Android 15 draws over. */
fun View.keepClear() {
    setOnApplyWindowInsetsListener { view, insets ->
        view.pad(insets)
        insets
    }
}

private fun View.pad(insets: WindowInsets) {
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.R) return padAllKinds(insets)
    @Suppress("DEPRECATION")
    setPadding(
        insets.systemWindowInsetLeft,
        insets.systemWindowInsetTop,
        insets.systemWindowInsetRight,
        insets.systemWindowInsetBottom,
    )
}

@TargetApi(Build.VERSION_CODES.R)
private fun View.padAllKinds(insets: WindowInsets) {
    val kinds = WindowInsets.Type.systemBars() or WindowInsets.Type.displayCutout() or WindowInsets.Type.ime()
    val edges = insets.getInsets(kinds)
    setPadding(edges.left, edges.top, edges.right, edges.bottom)
}

/** Sets a text only where it is another, so that TalkBack does not repeat itself. */
fun TextView.say(text: CharSequence) {
    if (this.text.toString() != text.toString()) this.text = text
}

/** Shows a text, or takes the view away where there is none. */
fun TextView.sayOrHide(text: CharSequence?) {
    visibility = if (text.isNullOrEmpty()) View.GONE else View.VISIBLE
    if (!text.isNullOrEmpty()) say(text)
}
