package dev.edgekit.demo.record

/** What the app will not do: the message says what was asked, what was found and what to do, and is shown as it is. */
class Refusal(message: String, cause: Throwable? = null) : Exception(message, cause)
