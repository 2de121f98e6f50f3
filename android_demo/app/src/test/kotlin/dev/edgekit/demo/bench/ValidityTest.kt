package dev.edgekit.demo.bench

import dev.edgekit.demo.Expected
import dev.edgekit.demo.record.MeasurementJson
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** A real session, and the same with one thing after another wrong in it: judged here as `edgekit.validity` does. */
class ValidityTest {
    @Test
    fun verdictsAreThoseOfPython() {
        val words = HashSet<String>()
        for (case in Expected.objects("verdicts")) {
            val verdict = Validity.judge(MeasurementJson.decode(case.child("line")))
            assertEquals(case.texts("reasons"), verdict.reasons)
            assertEquals(case.text("word"), verdict.word)
            assertEquals(case.texts("notes"), verdict.notes)
            words += verdict.word
        }
        assertTrue("only $words were seen", words.containsAll(setOf(Validity.SUSPECT, Validity.INVALID)))
    }
}
