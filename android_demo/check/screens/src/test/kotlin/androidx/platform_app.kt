package androidx.test.platform.app

import android.app.Instrumentation
import android.os.Bundle

/** Stands in for androidx.test:monitor, which is on Google's Maven alone: just what Robolectric calls of it. */
object InstrumentationRegistry {
    private var instrumentation: Instrumentation? = null

    @JvmStatic
    fun registerInstance(instance: Instrumentation?, @Suppress("UNUSED_PARAMETER") arguments: Bundle?) {
        instrumentation = instance
    }

    @JvmStatic
    fun getInstrumentation(): Instrumentation = checkNotNull(instrumentation) { "no instrumentation is registered" }
}
