package dev.edgekit.demo.record

/** A Measurement as the fields of its JSON line and back; the names are those of `edgekit.measurement`. */
internal object MeasurementJson {
    fun encode(record: Measurement): Map<String, Any?> = linkedMapOf(
        "kind" to "measurement",
        "artifact_sha256" to record.artifactSha256,
        "artifact_name" to record.artifactName,
        "model" to record.model,
        "recipe" to record.recipe,
        "size_bytes" to record.sizeBytes,
        "device" to record.device,
        "protocol" to encode(record.protocol),
        "threads" to record.threads,
        "latency_ns" to record.latencyNs,
        "load_ns" to record.loadNs,
        "first_ns" to record.firstNs,
        "delegation" to encode(record.delegation),
        "fingerprint" to encode(record.fingerprint),
        "started_utc" to record.startedUtc,
        "energy" to record.energy?.let { encode(it) },
        "energy_reason" to record.energyReason,
        "session" to record.session,
        "slices" to record.slices,
        "inputs" to record.inputs,
        "input_ns" to record.inputNs,
        "warmup" to record.warmup?.let { mapOf("runs" to it.runs, "seconds" to it.seconds, "stable" to it.stable) },
        "memory" to record.memory?.let { encode(it) },
        "states" to record.states.map { encode(it) },
        "probe" to record.probe?.let { mapOf("before_ns" to it.beforeNs, "after_ns" to it.afterNs) },
        "verdict" to record.verdict?.let { encode(it) },
        "schema" to Measurement.SCHEMA,
    )

    private fun encode(protocol: Protocol) = linkedMapOf(
        "name" to protocol.name,
        "warmup_s" to protocol.warmupS,
        "min_runs" to protocol.minRuns,
        "min_seconds" to protocol.minSeconds,
        "max_runs" to protocol.maxRuns,
        "seed" to protocol.seed,
        "warmup_most_s" to protocol.warmupMostS,
        "rounds" to protocol.rounds,
        "starts" to protocol.starts,
        "percentile" to protocol.percentile,
    )

    /** The runtime does not tell which operators a delegate left. */
    private fun encode(delegation: Delegation) = linkedMapOf(
        "delegate" to delegation.delegate,
        "operators" to delegation.operators,
        "taken" to delegation.taken,
    )

    private fun encode(fingerprint: Fingerprint) = linkedMapOf(
        "board" to fingerprint.board,
        "cpu" to fingerprint.cpu,
        "cores" to fingerprint.cores,
        "arch" to fingerprint.arch,
        "os" to fingerprint.os,
        "python" to "none",
        "runtime" to fingerprint.runtime,
        "runtime_version" to fingerprint.runtimeVersion,
        "governor" to fingerprint.governor,
        "frequency_khz" to fingerprint.frequencyKhz,
        "temperature_c" to fingerprint.temperatureC,
        "load_1min" to fingerprint.load1Min,
        "soc" to fingerprint.soc,
        "frequency_max_khz" to fingerprint.frequencyMaxKhz,
        "power_source" to fingerprint.powerSource,
        "swap_used_bytes" to fingerprint.swapUsedBytes,
    )

    private fun encode(state: State) = linkedMapOf(
        "at_s" to state.atS,
        "clock_offset_ns" to state.clockOffsetNs,
        "slept_ns" to state.sleptNs,
        "frequency_khz" to state.frequencyKhz,
        "frequency_limit_khz" to state.frequencyLimitKhz,
        "governor" to state.governor,
        "temperature_c" to state.temperatureC,
        "power_source" to state.powerSource,
        "load_1min" to state.load1Min,
        "swap_used_bytes" to state.swapUsedBytes,
        "busy_s" to state.busyS,
        "stolen_s" to state.stolenS,
        "own_s" to state.ownS,
        "thermal_status" to state.thermalStatus,
        "thermal_headroom" to state.thermalHeadroom,
        "foreground" to state.foreground,
        "power_save" to state.powerSave,
    )

    private fun encode(energy: Energy) = linkedMapOf(
        "energy_j" to energy.energyJ,
        "source" to energy.source,
        "scope" to energy.scope,
        "net_j" to energy.netJ,
        "idle_power_w" to energy.idlePowerW,
        "idle_s" to energy.idleS,
        "idle_reason" to energy.idleReason,
        "scatter_j" to energy.scatterJ,
        "seconds" to energy.seconds,
        "windows" to energy.windows,
        "updates" to energy.updates,
        "missed" to energy.missed,
        "resolution_s" to energy.resolutionS,
        "sampler_ratio" to energy.samplerRatio,
        "unsampled_ns" to energy.unsampledNs,
        "too_short" to energy.tooShort,
    )

    private fun encode(memory: Memory) = linkedMapOf(
        "weight_bytes" to memory.weightBytes,
        "arena_bytes" to memory.arenaBytes,
        "arena_method" to memory.arenaMethod,
    )

    private fun encode(verdict: Verdict) = linkedMapOf(
        "word" to verdict.word,
        "reasons" to verdict.reasons,
        "notes" to verdict.notes,
    )

    fun decode(fields: JsonObject): Measurement = Measurement(
        artifactSha256 = fields.text("artifact_sha256"),
        artifactName = fields.text("artifact_name"),
        model = fields.textOrNull("model"),
        recipe = fields.textOrNull("recipe"),
        sizeBytes = fields.long("size_bytes"),
        device = fields.text("device"),
        protocol = protocol(fields.child("protocol")),
        threads = fields.int("threads"),
        latencyNs = fields.longs("latency_ns"),
        loadNs = fields.long("load_ns"),
        firstNs = fields.long("first_ns"),
        delegation = delegation(fields.child("delegation")),
        fingerprint = fingerprint(fields.child("fingerprint")),
        startedUtc = fields.text("started_utc"),
        energy = fields.childOrNull("energy")?.let { energy(it) },
        energyReason = fields.textOrNull("energy_reason"),
        session = fields.textOrNull("session"),
        slices = fields.ints("slices"),
        inputs = fields.textOrNull("inputs") ?: "random",
        inputNs = fields.longs("input_ns"),
        warmup = fields.childOrNull("warmup")?.let { warmup(it) },
        memory = fields.childOrNull("memory")?.let { memory(it) },
        states = fields.children("states").map { state(it) },
        probe = fields.childOrNull("probe")?.let { Probe(it.longs("before_ns"), it.longs("after_ns")) },
        verdict = fields.childOrNull("verdict")?.let { verdict(it) },
    )

    /** What a session's request holds as well. */
    fun protocol(fields: JsonObject) = Protocol(
        name = fields.text("name"),
        warmupS = fields.double("warmup_s"),
        minRuns = fields.int("min_runs"),
        minSeconds = fields.double("min_seconds"),
        maxRuns = fields.intOrNull("max_runs") ?: Protocol.MAX_RUNS,
        seed = fields.intOrNull("seed") ?: 0,
        warmupMostS = fields.doubleOrNull("warmup_most_s") ?: Protocol.WARMUP_MOST_S,
        rounds = fields.intOrNull("rounds") ?: Protocol.ROUNDS,
        starts = fields.intOrNull("starts") ?: 1,
        percentile = fields.doubleOrNull("percentile"),
    )

    private fun delegation(fields: JsonObject) =
        Delegation(fields.text("delegate"), fields.int("operators"), fields.int("taken"))

    private fun fingerprint(fields: JsonObject) = Fingerprint(
        board = fields.textOrNull("board"),
        cpu = fields.textOrNull("cpu"),
        cores = fields.int("cores"),
        arch = fields.text("arch"),
        os = fields.text("os"),
        runtime = fields.text("runtime"),
        runtimeVersion = fields.text("runtime_version"),
        governor = fields.textOrNull("governor"),
        frequencyKhz = fields.longOrNull("frequency_khz"),
        temperatureC = fields.doubleOrNull("temperature_c"),
        load1Min = fields.doubleOrNull("load_1min"),
        soc = fields.textOrNull("soc"),
        frequencyMaxKhz = fields.longOrNull("frequency_max_khz"),
        powerSource = fields.textOrNull("power_source"),
        swapUsedBytes = fields.longOrNull("swap_used_bytes"),
    )

    private fun state(fields: JsonObject) = State(
        atS = fields.double("at_s"),
        clockOffsetNs = fields.long("clock_offset_ns"),
        sleptNs = fields.longOrNull("slept_ns"),
        frequencyKhz = fields.longOrNull("frequency_khz"),
        frequencyLimitKhz = fields.longOrNull("frequency_limit_khz"),
        governor = fields.textOrNull("governor"),
        temperatureC = fields.doubleOrNull("temperature_c"),
        powerSource = fields.textOrNull("power_source"),
        load1Min = fields.doubleOrNull("load_1min"),
        swapUsedBytes = fields.longOrNull("swap_used_bytes"),
        busyS = fields.doubleOrNull("busy_s"),
        stolenS = fields.doubleOrNull("stolen_s"),
        ownS = fields.doubleOrNull("own_s"),
        thermalStatus = fields.intOrNull("thermal_status"),
        thermalHeadroom = fields.doubleOrNull("thermal_headroom"),
        foreground = fields.booleanOrNull("foreground"),
        powerSave = fields.booleanOrNull("power_save"),
    )

    private fun energy(fields: JsonObject) = Energy(
        energyJ = fields.double("energy_j"),
        source = fields.text("source"),
        scope = fields.text("scope"),
        netJ = fields.doubleOrNull("net_j"),
        idlePowerW = fields.doubleOrNull("idle_power_w"),
        idleS = fields.doubleOrNull("idle_s"),
        idleReason = fields.textOrNull("idle_reason"),
        scatterJ = fields.doubleOrNull("scatter_j"),
        seconds = fields.doubleOrNull("seconds"),
        windows = fields.intOrNull("windows"),
        updates = fields.intOrNull("updates"),
        missed = fields.intOrNull("missed"),
        resolutionS = fields.doubleOrNull("resolution_s"),
        samplerRatio = fields.doubleOrNull("sampler_ratio"),
        unsampledNs = fields.longs("unsampled_ns"),
        tooShort = fields.textOrNull("too_short"),
    )

    private fun warmup(fields: JsonObject) =
        WarmUp(fields.int("runs"), fields.double("seconds"), fields.boolean("stable"))

    private fun memory(fields: JsonObject) =
        Memory(fields.longOrNull("weight_bytes"), fields.longOrNull("arena_bytes"), fields.text("arena_method"))

    private fun verdict(fields: JsonObject) =
        Verdict(fields.text("word"), fields.texts("reasons"), fields.texts("notes"))
}
