"""AlexNet, GoogLeNet and VGG-16 against the counts that papers print for them."""

from __future__ import annotations

import pytest

from edgekit import models

pytestmark = pytest.mark.export


def test_alexnet_has_60_million_parameters_and_720_million_macs(outlined):
    params, macs = models.count(outlined("alexnet"))
    assert (params // 1_000_000, round(macs / 1e7)) == (60, 72)


def test_alexnet_shapes_and_groups(table):
    rows = table("alexnet")
    shapes = {name: rows[name].output_shape for name in ("conv1", "pool1", "pool2", "pool5")}
    assert shapes == {"conv1": (55, 55, 96), "pool1": (27, 27, 96), "pool2": (13, 13, 256), "pool5": (6, 6, 256)}
    assert [name for name, row in rows.items() if row.kernel.endswith("g2")] == ["conv2", "conv4", "conv5"]
    assert rows["fc6"].params == (6 * 6 * 256 + 1) * 4096


def test_alexnet_normalises_before_it_pools(outlined):
    operations = [type(operation).__name__ for operation in outlined("alexnet").operations]
    norms, pools = ([i for i, kind in enumerate(operations) if kind == what] for what in ("Square", "MaxPooling2D"))
    convolutions = [i for i, kind in enumerate(operations) if kind == "Conv2D"]
    assert len(norms) == 2
    assert convolutions[0] < norms[0] < pools[0] < convolutions[1] < norms[1] < pools[1]


def test_vgg16_has_138_million_parameters_and_15300_million_macs_in_convolutions(outlined):
    rows = models.layer_table(outlined("vgg16"))
    assert sum(row.params for row in rows) // 1_000_000 == 138
    assert round(sum(row.macs for row in rows if row.kind == "conv") / 1e8) == 153
    assert [row.output_shape for row in rows if row.kind == "max_pool"][-1] == (7, 7, 512)


def test_googlenet_is_within_four_percent_of_the_published_counts(outlined):
    params, macs = models.count(outlined("googlenet"))
    assert params == pytest.approx(6.8e6, rel=0.04)
    assert macs == pytest.approx(1550e6, rel=0.04)


def test_googlenet_shapes(table):
    rows = table("googlenet")
    shapes = {name: row.output_shape for name, row in rows.items() if name.endswith(("_s2", "_output"))}
    assert shapes == {
        "conv1_7x7_s2": (112, 112, 64),
        "pool1_3x3_s2": (56, 56, 64),
        "pool2_3x3_s2": (28, 28, 192),
        "inception_3a_output": (28, 28, 256),
        "inception_3b_output": (28, 28, 480),
        "pool3_3x3_s2": (14, 14, 480),
        "inception_4a_output": (14, 14, 512),
        "inception_4b_output": (14, 14, 512),
        "inception_4c_output": (14, 14, 512),
        "inception_4d_output": (14, 14, 528),
        "inception_4e_output": (14, 14, 832),
        "pool4_3x3_s2": (7, 7, 832),
        "inception_5a_output": (7, 7, 832),
        "inception_5b_output": (7, 7, 1024),
    }
