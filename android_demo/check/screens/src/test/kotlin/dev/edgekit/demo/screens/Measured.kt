package dev.edgekit.demo.screens

import dev.edgekit.demo.bench.Subject
import dev.edgekit.demo.record.Delegation
import dev.edgekit.demo.record.Measurement
import dev.edgekit.demo.record.Session
import dev.edgekit.demo.record.Verdict

/** Made up, for pictures: no machine measured these. */
fun imagined(
    subject: Subject,
    session: Session,
    milliseconds: Double,
    verdict: Verdict = Verdict("valid"),
) = Measurement(
    artifactSha256 = subject.artifact.sha256,
    artifactName = subject.artifact.name,
    model = subject.artifact.card.model,
    recipe = subject.artifact.card.recipe,
    sizeBytes = subject.artifact.sizeBytes,
    device = QuietMachine.name,
    protocol = session.protocol,
    threads = session.threads,
    latencyNs = LongArray(200) { ((milliseconds + it % 7 * 0.02) * 1e6).toLong() },
    loadNs = 4_200_000,
    firstNs = ((milliseconds * 1.6) * 1e6).toLong(),
    delegation = Delegation("XNNPACK", 0, 0),
    fingerprint = QuietMachine.fingerprint("LiteRT", "1.4.0"),
    startedUtc = "2026-01-01T00:00:00Z",
    energyReason = "the phone is plugged in",
    verdict = verdict,
)
