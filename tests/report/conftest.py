"""A comparison with one of everything a cell can say; its numbers are invented."""

from __future__ import annotations

import pytest

from edgekit.compare import Comparison, Row, Share
from edgekit.measurement import Energy

REASON = "no RAPL counter"
ENERGY = Energy(
    0.0123,
    "RAPL",
    "cpu",
    net_j=0.0081,
    idle_power_w=0.4,
    idle_s=3.0,
    scatter_j=0.0001,
    uncertainty_j=0.0002,
    seconds=5.0,
    updates=5000,
    missed=0,
    sampler_ratio=1.001,
)


def row(name: str, model: str | None, recipe: str | None, **fields: object) -> Row:
    """A row that was judged and timed, except for what `fields` say otherwise."""
    values: dict[str, object] = {
        "top1": Share(0.6475, 0.599, 0.693, 400),
        "top5": Share(0.85, 0.8118, 0.8816, 400),
        "agreement": Share(0.9425, 0.9152, 0.9614, 400),
        "kl_nats": 0.01234,
        "device": "Board, 4 cores",
        "threads": 1,
        "protocol": "quick",
        "runs": 120,
        "latency_median_ms": 7.4312,
        "latency_p90_ms": 7.95,
        "delegated": 0.95,
        "energy_reason": REASON,
    } | fields
    return Row(name.encode().hex().zfill(64)[:64], name, model, recipe, 1_363_080, **values)  # type: ignore[arg-type]


@pytest.fixture
def comparison() -> Comparison:
    """A float model without reference, its int8 version with energy, and a foreign file that was only timed."""
    unjudged = {"top1": None, "top5": None, "agreement": None, "kl_nats": None}
    return Comparison(
        (
            row("squeezenet_v1_1-224-float32", "squeezenet_v1_1", "float32", agreement=None, kl_nats=None),
            row(
                "squeezenet_v1_1-224-int8",
                "squeezenet_v1_1",
                "int8",
                latency_median_ms=3.5,
                energy=ENERGY,
                energy_reason=None,
            ),
            row("mystery", None, None, **unjudged),
        ),
        ("Latency was taken by different protocols.",),
    )


@pytest.fixture
def hostile() -> Comparison:
    """Names that try to be markup, a formula, a link and a command to the terminal."""
    name = "=x|<script>alert(1)</script>*a* `b` [c](d) \x1b[31m\u202e &amp; {style}"
    return Comparison((row(name, None, None, device=name, energy_reason=name),), (name,))
