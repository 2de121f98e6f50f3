package dev.edgekit.demo.ui

import dev.edgekit.demo.inference.Orientation

/** Pixels as stored, ARGB row by row, and how they are to be held. */
class Picture(val pixels: IntArray, val width: Int, val height: Int, val orientation: Orientation)
