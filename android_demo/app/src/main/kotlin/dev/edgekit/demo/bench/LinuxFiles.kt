package dev.edgekit.demo.bench

import java.io.File
import java.io.IOException

/**
 * What a Linux kernel tells of the machine in /proc and /sys, as far as apps may read it; null where it does not.
 *
 * [root] is another tree in tests. The files and their meaning are those of `edgekit.devices._state`.
 */
internal class LinuxFiles(private val root: File = File("/")) {
    private val policies: List<File> by lazy {
        val folder = File(root, "sys/devices/system/cpu/cpufreq")
        folder.listFiles { file -> file.name.startsWith("policy") }.orEmpty().sorted()
    }

    /** Of the fastest frequency domain. */
    fun frequencyKhz(): Long? = fastest("scaling_cur_freq")

    /** What the system allows the fastest domain at the moment. */
    fun frequencyLimitKhz(): Long? = fastest("scaling_max_freq")

    /** What the fastest domain can do. */
    fun frequencyMaxKhz(): Long? = fastest("cpuinfo_max_freq")

    /** Of all domains, each once. */
    fun governor(): String? {
        val names = policies.mapNotNull { text(File(it, "scaling_governor")) }.distinct()
        return names.joinToString(" + ").ifEmpty { null }
    }

    /** The load average of a minute. */
    fun load1Min(): Double? = text(File(root, "proc/loadavg"))?.substringBefore(' ')?.toDoubleOrNull()

    /** Swap in use. */
    fun swapUsedBytes(): Long? {
        val lines = text(File(root, "proc/meminfo"))?.lines().orEmpty()
        val total = kilobytes(lines, "SwapTotal:") ?: return null
        return (total - (kilobytes(lines, "SwapFree:") ?: return null)) * 1024
    }

    private fun kilobytes(lines: List<String>, name: String): Long? {
        val line = lines.firstOrNull { it.startsWith(name) } ?: return null
        return line.removePrefix(name).trim().substringBefore(' ').toLongOrNull()
    }

    /** Seconds that all cores have worked since the start, and that a hypervisor kept from them. */
    fun processorTimeS(): Pair<Double, Double>? {
        val words = text(File(root, "proc/stat"))?.lineSequence()?.first()?.split(Regex(" +")).orEmpty()
        if (words.size < 9 || words[0] != "cpu") return null
        val ticks = words.subList(1, 9).map { it.toLongOrNull() ?: return null }
        val busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]
        return busy / TICKS_PER_S to ticks[7] / TICKS_PER_S
    }

    /** How many cores there are, asleep or not. */
    fun cores(): Int? {
        val folders = File(root, "sys/devices/system/cpu").listFiles().orEmpty()
        return folders.count { CORE.matches(it.name) }.takeIf { it > 0 }
    }

    private fun fastest(name: String): Long? =
        policies.mapNotNull { text(File(it, name))?.toLongOrNull() }.filter { it > 0 }.maxOrNull()

    /** Android lets apps see some of these files and not read them. */
    private fun text(file: File): String? = try {
        file.readText().trim().ifEmpty { null }
    } catch (_: IOException) {
        null
    } catch (_: SecurityException) {
        null
    }

    private companion object {
        const val TICKS_PER_S = 100.0 // USER_HZ, which Linux keeps at 100 for programs
        val CORE = Regex("cpu[0-9]+")
    }
}
