"""MobileNets against the tables of TF-slim's model zoo."""

from __future__ import annotations

import pytest

from edgekit import models
from edgekit.models import mobilenet_v1, mobilenet_v2

pytestmark = pytest.mark.export


def batch_norm_params(rows):
    return sum(row.params for row in rows if row.kind == "batch_norm")


@pytest.mark.parametrize(("alpha", "size"), mobilenet_v1.PUBLISHED)
def test_v1_reproduces_every_published_point(alpha, size, outlined):
    """But for the two known oddities of the page: no conv1 at alpha 0.75, and one number off the line."""
    point = mobilenet_v1.PUBLISHED[alpha, size]
    rows = models.layer_table(outlined("mobilenet_v1", size, alpha=alpha))
    params, macs = sum(row.params for row in rows), sum(row.macs for row in rows)
    if alpha == 0.75:
        macs -= next(row.macs for row in rows if row.name == "conv1")
    if (alpha, size) == (0.25, 192):
        assert round(macs / 1e6, 1) == 30.2
    else:
        assert macs / 1e6 == pytest.approx(point.macs_m, abs=0.51)
    # Three numbers per batch-norm channel on the page, two of them here.
    assert (params + batch_norm_params(rows) / 2) / 1e6 == pytest.approx(point.params_m, abs=0.005)


@pytest.mark.parametrize("alpha", [1.0, 0.75, 0.5, 0.35])
def test_v2_reproduces_the_published_points(alpha, outlined):
    for size in (224, 96):
        point = mobilenet_v2.PUBLISHED[alpha, size]
        rows = models.layer_table(outlined("mobilenet_v2", size, alpha=alpha))
        params, macs = sum(row.params for row in rows), sum(row.macs for row in rows)
        assert int(macs / 1e6) == point.macs_m  # the page cuts off
        # The page leaves batch norm out.
        assert (params - batch_norm_params(rows)) / 1e6 == pytest.approx(point.params_m, abs=0.005)


@pytest.mark.parametrize(
    ("name", "macs_m", "params_m"),
    [("mobilenet_v3_large", 217, 5.4), ("mobilenet_v3_large_minimalistic", 209, 3.9)],
)
def test_v3_large_reproduces_the_published_counts(name, macs_m, params_m, outlined):
    rows = models.layer_table(outlined(name))
    assert round(sum(row.macs for row in rows) / 1e6) == macs_m
    assert int(sum(row.params for row in rows) / 1e5) / 10 == params_m  # the page cuts off


def test_v3_small_is_smaller_than_its_published_counts(outlined):
    params, macs = models.count(outlined("mobilenet_v3_small"))
    assert (round(macs / 1e6, 1), round(params / 1e6, 2)) == (56.5, 2.54)


def test_v1_layers_come_in_tf_slims_order(table):
    rows = table("mobilenet_v1_025")
    pairs = [name for i in range(1, 14) for name in (f"conv_dw_{i}", f"conv_pw_{i}")]
    assert [name for name, row in rows.items() if row.params and row.kind != "batch_norm"] == [
        "conv1",
        *pairs,
        "conv_preds",
    ]
    weighted = [row.kind for row in rows.values() if row.params]
    assert weighted == ["conv", "batch_norm"] + ["depthwise_conv", "batch_norm", "conv", "batch_norm"] * 13 + ["conv"]


def test_v2_layers_come_in_tf_slims_order(table):
    weighted = [row.kind for row in table("mobilenet_v2_035").values() if row.params]
    first = ["conv", "batch_norm", "depthwise_conv", "batch_norm", "conv", "batch_norm"]
    block = ["conv", "batch_norm", "depthwise_conv", "batch_norm", "conv", "batch_norm"]
    assert weighted == first + block * 16 + ["conv", "batch_norm", "dense"]


def test_v3_expects_normalised_images(outlined):
    assert "Rescaling" not in {type(layer).__name__ for layer in outlined("mobilenet_v3_small").layers}


def test_minimalistic_has_no_large_kernels_and_no_squeeze_and_excite(table):
    plain, minimalistic = table("mobilenet_v3_small"), table("mobilenet_v3_small_minimalistic")
    assert any(row.kernel.startswith("5x5") for row in plain.values())
    assert not any(row.kernel.startswith("5x5") or row.kind == "multiply" for row in minimalistic.values())
