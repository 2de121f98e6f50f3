package dev.edgekit.demo.ui

/**
 * How a camera's picture lies on the screen: plain geometry. Degrees are clockwise; [displayDegrees] is how far the
 * screen is turned from the phone's natural position, as `Display.getRotation` counts.
 */
object Viewfinder {
    /** By how much a frame is to be turned clockwise so that it stands upright on the screen. */
    fun frameDegrees(sensorDegrees: Int, displayDegrees: Int, front: Boolean): Int =
        if (front) (sensorDegrees + displayDegrees) % 360 else (sensorDegrees - displayDegrees + 360) % 360

    /** How a TextureView's content, stretched over the whole view, is scaled and turned about its middle. */
    data class Fit(val scaleX: Float, val scaleY: Float, val degrees: Float)

    /**
     * Fills the view with the upright picture, cropping what is left over.
     *
     * The system turns the buffer to the phone's natural position and stretches it over the view; what remains is to
     * take back the stretching and the display's turn.
     */
    fun fill(
        viewWidth: Int,
        viewHeight: Int,
        bufferWidth: Int,
        bufferHeight: Int,
        sensorDegrees: Int,
        displayDegrees: Int,
    ): Fit {
        val sideways = sensorDegrees % 180 != 0
        val naturalWidth = if (sideways) bufferHeight else bufferWidth
        val naturalHeight = if (sideways) bufferWidth else bufferHeight
        val turned = displayDegrees % 180 != 0
        val shownWidth = if (turned) naturalHeight else naturalWidth
        val shownHeight = if (turned) naturalWidth else naturalHeight
        val scale = maxOf(viewWidth.toFloat() / shownWidth, viewHeight.toFloat() / shownHeight)
        return Fit(naturalWidth * scale / viewWidth, naturalHeight * scale / viewHeight, -displayDegrees.toFloat())
    }

    /** Of the sizes that a camera has, the smallest that covers the input well: the shorter side at least [least]. */
    fun choose(sizes: List<Pair<Int, Int>>, least: Int): Pair<Int, Int>? =
        sizes.filter { (width, height) -> minOf(width, height) >= least }
            .minByOrNull { (width, height) -> width * height }
            ?: sizes.maxByOrNull { (width, height) -> width * height }
}
