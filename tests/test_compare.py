"""Statistics against numpy, published values and constructed answers; the joining of records."""

from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import compare
from edgekit.compare import Comparison, Row, latency_ratio, median, p90, share, top_k, wilson
from edgekit.errors import DataError
from edgekit.measurement import Delegation, Energy, Fingerprint, Measurement, Memory, Protocol, Quality, Verdict

QUICK = Protocol("quick", warmup_s=0.3, min_runs=50, min_seconds=1.0)
BOARD = Fingerprint("Board", "Cortex-A76", 4, "aarch64", "Linux", "3.11", "ai-edge-litert", "2.3.0")
TIMED = Measurement(
    artifact_sha256="a" * 64,
    artifact_name="squeezenet_v1_1-224-int8",
    model="squeezenet_v1_1",
    recipe="int8",
    size_bytes=1_363_080,
    device="Board",
    protocol=QUICK,
    threads=1,
    latency_ns=tuple(range(1_000_000, 11_000_000, 1_000_000)),
    load_ns=5,
    first_ns=6,
    delegation=Delegation("XNNPACK", operators=40, taken=38, left=("SOFTMAX", "MEAN")),
    fingerprint=BOARD,
    started_utc="2026-01-01T10:00:00+00:00",
    energy_reason="no meter",
)
JUDGED = Quality(
    artifact_sha256="a" * 64,
    artifact_name="squeezenet_v1_1-224-int8",
    model="squeezenet_v1_1",
    recipe="int8",
    size_bytes=1_363_080,
    images=10,
    images_sha256="1" * 64,
    rank=(0, 0, 0, 1, 4, 5, 900, 0, None, 0),
    started_utc="2026-01-01T10:00:00+00:00",
    reference_sha256="f" * 64,
    agrees=(True,) * 9 + (False,),
    kl_nats=(0.1,) * 5 + (0.3,) * 5,
)

values = st.lists(st.integers(1, 10**12), min_size=1, max_size=300)


def only(comparison: Comparison) -> Row:
    assert len(comparison.rows) == 1
    return comparison.rows[0]


@settings(deadline=None)
@given(values)
def test_median_and_p90_are_numpys(samples: list[int]) -> None:
    assert median(samples) == pytest.approx(float(np.median(samples)), rel=1e-12)
    assert p90(samples) == np.percentile(samples, 90, method="inverted_cdf")


@settings(deadline=None)
@given(values)
def test_p90_is_the_smallest_that_nine_tenths_do_not_exceed(samples: list[int]) -> None:
    found = p90(samples)
    assert found in samples
    assert 10 * sum(value <= found for value in samples) >= 9 * len(samples)
    assert 10 * sum(value < found for value in samples) < 9 * len(samples)


def test_no_samples_have_no_statistics() -> None:
    for statistic in (median, p90):
        with pytest.raises(DataError, match="no values"):
            statistic([])


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(hits: int, of: int, low: float, high: float) -> None:
    assert wilson(hits, of) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(0, 1000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_wilson_ends_solve_the_score_equation(trial: tuple[int, int]) -> None:
    hits, of = trial
    low, high = wilson(hits, of)
    assert 0 <= low <= high <= 1
    if of:
        assert low <= hits / of <= high
        for end in (low, high):
            gap = (hits / of - end) ** 2 - 1.959963984540054**2 * end * (1 - end) / of
            assert gap == pytest.approx(0, abs=1e-9)


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_wilson_mirrors_hits_and_misses(of: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, of))
    low, high = wilson(hits, of)
    assert wilson(of - hits, of) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_top_k_counts_the_labelled_images_only() -> None:
    top1, top5 = top_k(JUDGED.rank, 1), top_k(JUDGED.rank, 5)
    assert top1 is not None and top5 is not None
    assert (top1.value, top1.of) == (5 / 9, 9)
    assert (top5.value, top5.of) == (7 / 9, 9)
    assert (top1.low, top1.high) == wilson(5, 9)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 30))), st.integers(1, 30))
def test_top_k_grows_with_k(rank: list[int | None], k: int) -> None:
    smaller, larger = top_k(rank, k), top_k(rank, k + 1)
    if smaller is None or larger is None:
        assert all(position is None for position in rank)
    else:
        assert smaller.value <= larger.value


def test_nothing_has_no_share() -> None:
    assert share([]) is None
    assert top_k([None, None], 1) is None


def test_a_ratio_of_constants_is_exact() -> None:
    assert latency_ratio([6, 6, 6], [4, 4]) == compare.Ratio(1.5, 1.5, 1.5)


def test_a_ratio_is_the_same_for_the_same_seed() -> None:
    above, below = [3, 5, 4, 9, 8], [2, 3, 4, 4]
    assert latency_ratio(above, below, seed=1) == latency_ratio(above, below, seed=1)
    assert latency_ratio(above, below) == latency_ratio(above[::-1], below[::-1])


@pytest.mark.parametrize("size", [4, 5, 40, 41])
def test_the_quick_bootstrap_draws_medians_like_the_plain_one(size: int) -> None:
    """Two-sample Kolmogorov-Smirnov between medians of drawn resamples and of the shortcut."""
    generator = np.random.default_rng(5)
    samples = np.sort(generator.integers(1, 10**6, size))
    plain = np.sort(np.median(generator.choice(samples, (4000, size)), axis=1))
    draws = random.Random(3)
    quick = np.sort([compare._resampled_median([int(value) for value in samples], draws) for _ in range(4000)])
    both = np.concatenate([plain, quick])
    gap = np.abs(np.searchsorted(plain, both, side="right") - np.searchsorted(quick, both, side="right")).max() / 4000
    assert gap < 1.95 * math.sqrt(2 / 4000)  # the 0.1 % critical value; seeded, so it never flickers


def test_the_interval_covers_the_true_ratio_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    hits = 0
    for trial in range(200):
        above = [int(value) for value in generator.lognormal(14.5, 0.1, 60)]
        below = [int(value) for value in generator.lognormal(14.0, 0.1, 60)]
        interval = latency_ratio(above, below, resamples=400, seed=trial)
        hits += interval.low <= math.exp(0.5) <= interval.high
    assert 180 <= hits <= 199


def test_a_row_joins_what_was_timed_and_what_was_judged() -> None:
    row = only(compare.compare([JUDGED, TIMED]))
    assert (row.model, row.recipe, row.size_bytes, row.device, row.threads) == (
        "squeezenet_v1_1",
        "int8",
        1_363_080,
        "Board",
        1,
    )
    assert (row.latency_median_ms, row.latency_p90_ms, row.runs) == (5.5, 9.0, 10)
    assert row.delegated == 0.95
    assert row.top1 is not None and row.top1.of == 9
    assert row.agreement is not None and row.agreement.value == 0.9
    assert row.kl_nats == pytest.approx(0.2)
    assert (row.energy, row.energy_reason) == (None, "no meter")


def test_an_artifact_that_was_only_judged_has_a_row_without_latency() -> None:
    row = only(compare.compare([JUDGED]))
    assert row.device is None and row.latency_median_ms is None and row.top1 is not None


def test_an_artifact_that_was_only_timed_has_a_row_without_accuracy() -> None:
    row = only(compare.compare([TIMED]))
    assert row.top1 is None and row.agreement is None and row.kl_nats is None


def test_without_a_reference_there_is_no_agreement() -> None:
    row = only(compare.compare([msgspec.structs.replace(JUDGED, agrees=(), kl_nats=(), reference_sha256=None)]))
    assert row.agreement is None and row.kl_nats is None


def test_devices_and_threads_make_rows_and_accuracy_is_on_each() -> None:
    records = [
        JUDGED,
        TIMED,
        msgspec.structs.replace(TIMED, threads=4),
        msgspec.structs.replace(TIMED, device="Phone"),
    ]
    rows = compare.compare(records).rows
    assert [(row.device, row.threads) for row in rows] == [("Board", 1), ("Board", 4), ("Phone", 1)]
    assert all(row.top1 is not None for row in rows)


def test_the_later_record_counts_wherever_it_stands() -> None:
    new = msgspec.structs.replace(TIMED, latency_ns=(7_000_000,), started_utc="2026-01-01T10:00:01Z")
    for records in ([TIMED, new], [new, TIMED]):
        assert only(compare.compare(records)).latency_median_ms == 7.0


def test_of_two_records_of_one_second_the_one_further_down_counts() -> None:
    other = msgspec.structs.replace(JUDGED, rank=(0,) * 10)
    row = only(compare.compare([JUDGED, other]))
    assert row.top1 is not None and row.top1.value == 1.0


def test_measured_energy_keeps_its_source() -> None:
    energy = Energy(0.012, "RAPL", "cpu")
    row = only(compare.compare([msgspec.structs.replace(TIMED, energy=energy, energy_reason=None)]))
    assert (row.energy, row.energy_reason) == (energy, None)


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        ({"too_short": "scatters by 9% where 5% is wanted"}, "energy scatters by 9% where 5% is wanted."),
        ({"idle_reason": "it was charging"}, "no energy at rest, so no net energy: it was charging."),
        ({"missed": 3, "updates": 50}, "3 readings of the meter are missing beside 50."),
        ({"unsampled_ns": (1_000_000,) * 9}, "reading the meter makes inference"),
    ],
)
def test_what_weakens_an_energy_is_noted(energy: dict[str, object], words: str) -> None:
    measured = Energy(0.012, "INA219", "board", **energy)  # type: ignore[arg-type]
    notes = compare.compare([msgspec.structs.replace(TIMED, energy=measured, energy_reason=None)]).notes
    assert len(notes) == 1 and notes[0].startswith(f"{TIMED.artifact_name}: {words}")


def test_a_meter_that_costs_nothing_is_not_noted() -> None:
    measured = Energy(0.012, "INA219", "board", unsampled_ns=TIMED.latency_ns)
    assert compare.compare([msgspec.structs.replace(TIMED, energy=measured, energy_reason=None)]).notes == ()


def test_meters_that_see_different_things_are_noted() -> None:
    rails, board = Energy(0.012, "Pi 5 PMIC", "rails"), Energy(0.02, "INA219", "board")
    first = msgspec.structs.replace(TIMED, energy=rails, energy_reason=None)
    second = msgspec.structs.replace(TIMED, artifact_sha256="b" * 64, energy=board, energy_reason=None)
    (note,) = compare.compare([first, second]).notes
    assert note.startswith("Energy was taken by meters that do not see the same") and "Pi 5 PMIC, rails" in note


def test_a_model_without_operators_has_no_delegated_share() -> None:
    row = only(compare.compare([msgspec.structs.replace(TIMED, delegation=Delegation("none", 0, 0))]))
    assert row.delegated is None


def test_records_of_one_kind_need_no_note() -> None:
    other = msgspec.structs.replace(TIMED, artifact_sha256="b" * 64)
    assert compare.compare([TIMED, other, JUDGED]).notes == ()


def test_mixed_image_sets_are_noted_with_their_artifacts() -> None:
    other = msgspec.structs.replace(
        JUDGED, artifact_sha256="b" * 64, artifact_name="mobile", images=400, images_sha256="2" * 64
    )
    (note,) = compare.compare([JUDGED, other]).notes
    assert "different images" in note
    assert "10 images (sha256 11111111): squeezenet_v1_1-224-int8" in note
    assert "400 images (sha256 22222222): mobile" in note


def test_of_an_image_set_that_was_replaced_only_the_record_is_noted() -> None:
    new = msgspec.structs.replace(JUDGED, images_sha256="2" * 64)
    (note,) = compare.compare([JUDGED, new]).notes
    assert note == "1 earlier record of the same run was set aside: squeezenet_v1_1-224-int8."


def test_different_protocols_and_runtimes_are_noted() -> None:
    other = msgspec.structs.replace(
        TIMED,
        artifact_sha256="b" * 64,
        artifact_name="mobile",
        protocol=msgspec.structs.replace(QUICK, name="standard", min_runs=200, min_seconds=5.0),
        fingerprint=msgspec.structs.replace(BOARD, runtime_version="2.1.0"),
    )
    protocols, runtimes = compare.compare([TIMED, other]).notes
    assert "quick (at least 50 runs and 1 s): squeezenet_v1_1-224-int8" in protocols
    assert "standard (at least 200 runs and 5 s): mobile" in protocols
    assert "ai-edge-litert 2.1.0: mobile" in runtimes


def test_a_note_of_many_artifacts_stays_short() -> None:
    sets = [
        msgspec.structs.replace(
            JUDGED, artifact_sha256=f"{i:064}", artifact_name=f"n{i}", images_sha256=f"{i % 2}" * 64
        )
        for i in range(100)
    ]
    (note,) = compare.compare(sets).notes
    assert "n0, n2, n4, n6 and 46 more" in note and len(note) < 300


def test_images_that_could_not_be_read_are_noted() -> None:
    (note,) = compare.compare([msgspec.structs.replace(JUDGED, skipped=("x.jpg", "y.jpg"))]).notes
    assert note == "squeezenet_v1_1-224-int8: unreadable and left out of the images: 2."


def test_nothing_compares_to_nothing() -> None:
    assert compare.compare([]) == Comparison(())


def in_session(name: str, factor: float, machine: list[float], **fields: object) -> Measurement:
    """Ten slices on a machine that changes from slice to slice."""
    generator = random.Random(name)
    blocks = [[round(1e6 * factor * speed * generator.lognormvariate(0, 0.01)) for _ in range(15)] for speed in machine]
    samples = tuple(value for block in blocks for value in block)
    changes = {"artifact_name": name, "artifact_sha256": name * 64, "latency_ns": samples, "session": "s1"}
    return msgspec.structs.replace(TIMED, **(changes | {"slices": (15,) * len(machine)} | fields))


def test_pairs_are_of_one_session_only() -> None:
    machine = [1.0] * 10
    records = [in_session("x", 2, machine), in_session("y", 1, machine), in_session("z", 1, machine, session="s2")]
    (pair,) = compare.compare([*records, TIMED]).pairs
    assert (pair.artifact_name, pair.other_name, pair.device, pair.threads) == ("x", "y", "Board", 1)
    assert pair.latency_ratio.value == pytest.approx(2, rel=0.01)
    assert pair.latency_ratio.low <= pair.latency_ratio.value <= pair.latency_ratio.high


def test_what_both_models_suffer_does_not_blur_their_ratio() -> None:
    machine = [1.0, 1.4, 1.0, 1.3, 1.5, 1.1, 1.0, 1.2, 1.4, 1.0]
    one, other = in_session("a", 2, machine), in_session("b", 1, machine)
    found = compare.session_ratio(one, other)
    assert found.low <= 2 <= found.high and found.high - found.low < 0.1
    alone = compare.sampling.median_interval(compare.slices(one))
    assert (alone[1] - alone[0]) / median(one.latency_ns) > 0.15


def test_without_slices_single_latencies_are_drawn() -> None:
    one, other = (in_session(name, 1, [1.0] * 10, slices=()) for name in "ab")
    assert compare.session_ratio(one, other) == latency_ratio(one.latency_ns, other.latency_ns)


def test_a_row_has_what_the_session_adds() -> None:
    starts = {"loads_ns": (5, 7, 1_000_000), "firsts_ns": (6, 8, 1_000_000)}
    memory = Memory(1_200_000, 1_600_000, "counted")
    protocol = msgspec.structs.replace(QUICK, percentile=0.9)
    delegation = Delegation("XNNPACK", 40, 38, ("MEAN",), macs=100, macs_taken=90)
    judged = Verdict("suspect", ("noisy: very",))
    fields = {"memory": memory, "protocol": protocol, "delegation": delegation, "verdict": judged, "input_ns": (2, 4)}
    comparison = compare.compare([in_session("a", 1, [1.0] * 10, **(starts | fields))])
    row = only(comparison)
    assert (row.cold_ms, row.starts, row.input_copy_ms) == (15e-6, 3, 3e-6)
    assert (row.arena_bytes, row.weight_bytes, row.macs_delegated, row.verdict) == (
        1_600_000,
        1_200_000,
        0.9,
        "suspect",
    )
    assert row.latency_estimate_ms is not None and row.latency_p90_ms is not None
    assert row.latency_estimate_ms >= row.latency_p90_ms
    assert "a, 1 thread: suspect: noisy: very." in comparison.notes


def test_different_inputs_are_noted() -> None:
    records = [in_session("a", 1, [1.0] * 5), in_session("b", 1, [1.0] * 5, inputs="golden")]
    assert any(note.startswith("Latency was taken on different inputs") for note in compare.compare(records).notes)
