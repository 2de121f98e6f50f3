package dev.edgekit.demo.record

/**
 * JSON text to values and back: maps, lists, strings, Long, Double, Boolean and null.
 *
 * As strict as RFC 8259: what another reader would refuse or guess at is refused here. Android has org.json, which is
 * lenient and is no part of a plain JVM.
 */
internal object Json {
    /** The value that the whole [text] is; [what] names it in the message. @throws Refusal where it is no JSON. */
    fun parse(text: String, what: String): Any? = JsonParser(text, what).whole()

    /** The object that the whole [text] is. */
    fun parseObject(text: String, what: String): JsonObject {
        val value = parse(text, what)
        return value.asJsonObject() ?: throw Refusal("$what is JSON but no object; a JSON object was expected")
    }

    /** The text of a value, on one line. */
    fun write(value: Any?): String = StringBuilder().also { append(it, value) }.toString()

    private fun append(out: StringBuilder, value: Any?) {
        when (value) {
            null -> out.append("null")
            is String -> appendText(out, value)
            is Boolean, is Int, is Long -> out.append(value)
            is Float, is Double -> appendNumber(out, (value as Number).toDouble())
            is LongArray -> appendAll(out, value.asList())
            is List<*> -> appendAll(out, value)
            is Map<*, *> -> appendObject(out, value)
            else -> throw IllegalArgumentException("${value.javaClass} has no form in JSON")
        }
    }

    private fun appendNumber(out: StringBuilder, value: Double) {
        require(!value.isNaN() && !value.isInfinite()) { "$value has no form in JSON" }
        out.append(value)
    }

    private fun appendAll(out: StringBuilder, values: List<*>) {
        out.append('[')
        for (position in values.indices) {
            if (position > 0) out.append(',')
            append(out, values[position])
        }
        out.append(']')
    }

    private fun appendObject(out: StringBuilder, fields: Map<*, *>) {
        out.append('{')
        var first = true
        for ((name, value) in fields) {
            if (!first) out.append(',')
            first = false
            appendText(out, name as String)
            out.append(':')
            append(out, value)
        }
        out.append('}')
    }

    private fun appendText(out: StringBuilder, text: String) {
        out.append('"')
        for (character in text) {
            when {
                character == '"' || character == '\\' -> out.append('\\').append(character)
                // Half of a pair by itself has no form in UTF-8, so it goes as an escape too.
                character < ' ' || character.isSurrogate() -> out.append("\\u").append(hexadecimal(character))
                else -> out.append(character)
            }
        }
        out.append('"')
    }

    private fun hexadecimal(character: Char): String = Integer.toHexString(character.code or 0x10000).substring(1)
}

@Suppress("UNCHECKED_CAST") // the parser makes no other maps
internal fun Any?.asJsonObject(): JsonObject? = (this as? Map<String, Any?>)?.let { JsonObject(it) }

private class JsonParser(private val text: String, private val what: String) {
    private var at = 0
    private var depth = 0

    fun whole(): Any? {
        val value = value()
        space()
        if (at < text.length) fail("more text after its end")
        return value
    }

    private fun value(): Any? {
        space()
        return when (peek()) {
            '{' -> nested { objectFields() }
            '[' -> nested { elements() }
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun <T> nested(read: () -> T): T {
        if (++depth > MAX_DEPTH) fail("more than $MAX_DEPTH levels")
        return read().also { depth-- }
    }

    private fun objectFields(): Map<String, Any?> {
        val fields = LinkedHashMap<String, Any?>()
        at++
        space()
        if (peek() == '}') return fields.also { at++ }
        while (true) {
            space()
            if (peek() != '"') fail("a field without a name")
            val name = string()
            space()
            expect(':')
            fields[name] = value()
            if (!another('}')) return fields
        }
    }

    private fun elements(): List<Any?> {
        val values = ArrayList<Any?>()
        at++
        space()
        if (peek() == ']') return values.also { at++ }
        while (true) {
            values.add(value())
            if (!another(']')) return values
        }
    }

    /** Whether a comma follows, else the [end]. */
    private fun another(end: Char): Boolean {
        space()
        if (peek() == ',') {
            at++
            return true
        }
        expect(end)
        return false
    }

    private fun string(): String {
        val out = StringBuilder()
        at++
        while (true) {
            val character = next()
            when {
                character == '"' -> return out.toString()
                character == '\\' -> out.append(escaped())
                character < ' ' -> fail("a control character in a string")
                else -> out.append(character)
            }
        }
    }

    private fun escaped(): Char = when (val character = next()) {
        '"', '\\', '/' -> character
        'b' -> '\b'
        'f' -> '\u000c'
        'n' -> '\n'
        'r' -> '\r'
        't' -> '\t'
        'u' -> unicode()
        else -> fail("the escape \\$character")
    }

    private fun unicode(): Char {
        val digits = text.substring(at, minOf(at + 4, text.length))
        if (digits.length < 4 || digits.any { Character.digit(it, 16) < 0 }) fail("the escape \\u$digits")
        at += 4
        return digits.toInt(16).toChar()
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("an unknown word")
        at += word.length
        return value
    }

    private fun number(): Number {
        val match = NUMBER.matcher(text).region(at, text.length)
        if (!match.lookingAt()) fail(if (at < text.length) "'${text[at]}'" else "its end")
        at = match.end()
        val digits = match.group()
        val whole = match.group(1) == null && match.group(2) == null
        return if (whole) digits.toLongOrNull() ?: fail("a number too large") else digits.toDouble()
    }

    private fun space() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else END

    private fun next(): Char = if (at < text.length) text[at++] else fail("its end")

    private fun expect(character: Char) {
        if (peek() != character) fail("no '$character'")
        at++
    }

    private fun fail(found: String): Nothing =
        throw Refusal("$what is no JSON: $found at character $at of ${text.length}; get or make it again")

    private companion object {
        const val MAX_DEPTH = 64
        const val END = '\uffff'
        val NUMBER: java.util.regex.Pattern =
            java.util.regex.Pattern.compile("-?(?:0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
    }
}

/** The fields of a JSON object by their types; a Refusal names the field that is missing or of another type. */
internal class JsonObject(private val fields: Map<String, Any?>) {
    val names: Set<String> get() = fields.keys

    fun has(name: String): Boolean = fields[name] != null

    fun text(name: String): String = textOrNull(name) ?: missing(name, "text")

    fun textOrNull(name: String): String? = typed(name, "text") { it as? String }

    fun long(name: String): Long = longOrNull(name) ?: missing(name, "a whole number")

    fun longOrNull(name: String): Long? = typed(name, "a whole number") { it as? Long }

    fun int(name: String): Int = intOrNull(name) ?: missing(name, "a whole number")

    fun intOrNull(name: String): Int? = typed(name, "a whole number below 2^31") { (it as? Long)?.toIntExactly() }

    fun double(name: String): Double = doubleOrNull(name) ?: missing(name, "a number")

    fun doubleOrNull(name: String): Double? = typed(name, "a number") { (it as? Number)?.toDouble() }

    fun booleanOrNull(name: String): Boolean? = typed(name, "true or false") { it as? Boolean }

    fun boolean(name: String): Boolean = booleanOrNull(name) ?: missing(name, "true or false")

    fun child(name: String): JsonObject = childOrNull(name) ?: missing(name, "an object")

    fun childOrNull(name: String): JsonObject? = typed(name, "an object") { it.asJsonObject() }

    fun texts(name: String): List<String> = list(name) { it as? String }

    fun ints(name: String): List<Int> = list(name) { (it as? Long)?.toIntExactly() }

    fun doubles(name: String): List<Double> = list(name) { (it as? Number)?.toDouble() }

    fun longs(name: String): LongArray = list(name) { it as? Long }.toLongArray()

    fun children(name: String): List<JsonObject> = list(name) { it.asJsonObject() }

    fun lists(name: String): List<List<*>> = list(name) { it as? List<*> }

    private fun <T : Any> list(name: String, convert: (Any?) -> T?): List<T> {
        val values = typed(name, "a list") { it as? List<*> } ?: return emptyList()
        return values.map { convert(it) ?: wrong(name, "a list of another kind") }
    }

    private fun <T : Any> typed(name: String, wanted: String, convert: (Any) -> T?): T? {
        val value = fields[name] ?: return null
        return convert(value) ?: wrong(name, wanted)
    }

    private fun missing(name: String, wanted: String): Nothing =
        throw Refusal("the field '$name' is missing; $wanted was expected")

    private fun wrong(name: String, wanted: String): Nothing =
        throw Refusal("the field '$name' is ${Json.write(fields[name]).take(40)}; $wanted was expected")
}

private fun Long.toIntExactly(): Int? = if (this in Int.MIN_VALUE..Int.MAX_VALUE) toInt() else null
