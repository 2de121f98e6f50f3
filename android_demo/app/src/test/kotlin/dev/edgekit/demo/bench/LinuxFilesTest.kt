package dev.edgekit.demo.bench

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class LinuxFilesTest {
    @get:Rule
    val folder = TemporaryFolder()

    private fun file(path: String, text: String) {
        val file = folder.root.resolve(path)
        file.parentFile.mkdirs()
        file.writeText(text)
    }

    @Test
    fun aPhoneWithTwoClustersIsRead() {
        for ((policy, khz) in listOf("policy0" to 1_800_000, "policy4" to 2_400_000)) {
            file("sys/devices/system/cpu/cpufreq/$policy/scaling_cur_freq", "${khz - 600_000}\n")
            file("sys/devices/system/cpu/cpufreq/$policy/scaling_max_freq", "$khz\n")
            file("sys/devices/system/cpu/cpufreq/$policy/cpuinfo_max_freq", "$khz\n")
            file("sys/devices/system/cpu/cpufreq/$policy/scaling_governor", "schedutil\n")
        }
        repeat(8) { file("sys/devices/system/cpu/cpu$it/online", "1") }
        file("proc/loadavg", "3.25 2.00 1.00 2/900 1234\n")
        file("proc/meminfo", "MemTotal: 8000000 kB\nSwapTotal:  4000000 kB\nSwapFree:  3000000 kB\n")
        file("proc/stat", "cpu  100 20 30 4000 5 6 4 70 0 0\ncpu0 1 2 3\n")
        val files = LinuxFiles(folder.root)
        assertEquals(1_800_000L, files.frequencyKhz())
        assertEquals(2_400_000L, files.frequencyLimitKhz())
        assertEquals(2_400_000L, files.frequencyMaxKhz())
        assertEquals("schedutil", files.governor())
        assertEquals(8, files.cores())
        assertEquals(3.25, files.load1Min()!!, 0.0)
        assertEquals(1_024_000_000L, files.swapUsedBytes())
        assertEquals(1.6 to 0.7, files.processorTimeS())
    }

    @Test
    fun whatAppsMayNotReadIsNotTold() {
        file("proc/stat", "")
        file("proc/meminfo", "SwapTotal: many kB\n")
        val files = LinuxFiles(folder.root)
        assertNull(files.frequencyKhz())
        assertNull(files.governor())
        assertNull(files.cores())
        assertNull(files.load1Min())
        assertNull(files.swapUsedBytes())
        assertNull(files.processorTimeS())
    }
}
