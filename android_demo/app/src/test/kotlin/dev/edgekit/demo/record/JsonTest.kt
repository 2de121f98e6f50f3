package dev.edgekit.demo.record

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test
import java.util.Random

class JsonTest {
    @Test
    fun whatIsWrittenIsReadBack() {
        val random = Random(1)
        repeat(500) {
            val value = value(random, depth = 4)
            assertEquals(value, Json.parse(Json.write(value), "it"))
        }
    }

    private fun value(random: Random, depth: Int): Any? = when (random.nextInt(if (depth > 0) 8 else 6)) {
        0 -> null
        1 -> random.nextBoolean()
        2 -> random.nextLong()
        3 -> random.nextGaussian() * Math.pow(10.0, random.nextInt(40) - 20.0)
        4 -> random.nextInt().toLong()
        5 -> text(random)
        6 -> List(random.nextInt(4)) { value(random, depth - 1) }
        else -> List(random.nextInt(4)) { text(random) to value(random, depth - 1) }.toMap()
    }

    private fun text(random: Random) = String(CharArray(random.nextInt(6)) { random.nextInt(0x10000).toChar() })

    @Test
    fun whatPythonEscapesIsRead() {
        assertEquals("ä\n\"\\/\u2028😀", Json.parse("\"\\u00e4\\n\\\"\\\\\\/\\u2028\\ud83d\\ude00\"", "it"))
        assertEquals(listOf(0L, -1L, 1.5, 1e300, -2e-3), Json.parse(" [0 ,-1, 1.5,1E+300 ,\t-2e-3]\n", "it"))
    }

    @Test
    fun whatIsNoJsonIsRefused() {
        val broken = listOf(
            "", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "1.", ".5", "+1", "NaN", "Infinity", "'a'", "\"a", "\"\\x\"",
            "\"\\u12g4\"", "\"\n\"", "[1 2]", "{\"a\" 1}", "tru", "1 2", "99999999999999999999", "[".repeat(100), "\"\\u12",
        )
        for (text in broken) assertThrows(text, Refusal::class.java) { Json.parse(text, "it") }
    }

    @Test
    fun aFieldOfAnotherTypeIsNamed() {
        val fields = Json.parseObject("{\"runs\": \"many\"}", "it")
        val refusal = assertThrows(Refusal::class.java) { fields.int("runs") }
        assertEquals("the field 'runs' is \"many\"; a whole number below 2^31 was expected", refusal.message)
        assertEquals("the field 'name' is missing; text was expected", assertThrows(Refusal::class.java) { fields.text("name") }.message)
    }
}
