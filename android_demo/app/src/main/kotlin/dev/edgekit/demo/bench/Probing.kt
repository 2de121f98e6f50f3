package dev.edgekit.demo.bench

import java.security.MessageDigest

/** The fixed work that shows a changed machine, as `edgekit.validity.probe`: a hash over 64 KiB and a copy of 4 MiB. */
internal class Probing(private val clock: Clock) {
    private val source = ByteArray(COPY_BYTES)
    private val target = ByteArray(COPY_BYTES)
    private val digest = MessageDigest.getInstance("SHA-256")

    /** Nanoseconds of each go; those before the processor's clock is up are not counted. */
    fun goes(): LongArray {
        val end = clock.nanos() + SPIN_NS
        while (clock.nanos() < end) work()
        return LongArray(GOES) { work() }
    }

    private fun work(): Long {
        val start = clock.nanos()
        digest.update(source, 0, HASH_BYTES)
        digest.digest()
        System.arraycopy(source, 0, target, 0, COPY_BYTES)
        return clock.nanos() - start
    }

    private companion object {
        const val COPY_BYTES = 4 shl 20
        const val HASH_BYTES = 1 shl 16
        const val SPIN_NS = 100_000_000L
        const val GOES = 40
    }
}
