"""SqueezeNext against counts taken from the authors' files."""

from __future__ import annotations

import pytest

from edgekit import models

pytestmark = pytest.mark.export


@pytest.mark.parametrize(
    ("name", "params", "macs_m_227", "macs_m_224"),
    [
        ("squeezenext_23", 717_280, 278.0, 269.0),
        ("squeezenext_23_g", 543_072, 224.2, 216.8),
        ("squeezenext_23_v5", 930_016, 224.9, 222.0),
        ("squeezenext_23_w2", 2_361_728, 742.1, 719.1),
        ("squeezenext_23_v5_w2", 3_222_912, 702.6, 698.0),
    ],
)
def test_counts_of_the_published_files(name, params, macs_m_227, macs_m_224, outlined):
    assert models.count(outlined(name))[0] == params
    assert round(models.count(outlined(name))[1] / 1e6, 1) == macs_m_227
    assert round(models.count(outlined(name, 224))[1] / 1e6, 1) == macs_m_224


def test_the_tuned_ones_differ_in_place_not_in_work(outlined):
    macs = {models.count(outlined(f"squeezenext_23_v{version}"))[1] for version in (2, 3, 4, 5)}
    assert macs == {224_916_480}


def test_double_width_44_has_the_abstracts_4_4_million(outlined):
    params, _ = models.count(outlined("squeezenext_44", width=2.0))
    assert round(params / 1e6, 1) == 4.4


@pytest.mark.parametrize(("name", "layers"), [("squeezenext_23", 23), ("squeezenext_34", 34), ("squeezenext_44", 44)])
def test_depth_is_in_the_name(name, layers, table):
    sums = [row for row in table(name).values() if row.kind == "add"]
    assert len(sums) + 2 == layers


@pytest.mark.parametrize("name", ["squeezenext_23", "squeezenext_23_v5"])
def test_maps_halve_from_stage_to_stage(name, table):
    rows = table(name)
    first = {"squeezenext_23": (111, 55), "squeezenext_23_v5": (112, 56)}[name]
    sums = [row.output_shape for row in rows.values() if row.kind == "add"]
    assert (rows["Convolution1"].output_shape[0], rows["pool1"].output_shape[0]) == first
    assert sorted(set(sums), reverse=True) == [(first[1], first[1], 32), (28, 28, 64), (14, 14, 128), (7, 7, 256)]
    assert rows["Convolution111"].output_shape == (7, 7, 128)
    assert rows["fc1000"].params == 128_000


def test_tall_and_wide_kernels_swap_places(table):
    rows = table("squeezenext_23")
    kernels = [rows[f"Convolution{i}"].kernel for i in range(2, 112)]
    split = "".join(kernel[0] for kernel in kernels if kernel in ("3x1/1", "1x3/1"))
    assert split == ("3113" * 11)[:42]


def names(tensors):
    return [tensor._keras_history.operation.name for tensor in tensors]


@pytest.mark.parametrize(("name", "reads"), [("squeezenext_23", "pool1"), ("squeezenext_23_v5", "Convolution2_relu")])
def test_what_the_first_block_reads(name, reads, outlined):
    model = outlined(name)
    assert names([model.get_layer("Convolution3").input]) == [reads]
    assert names(model.get_layer("Eltwise1").input) == ["Convolution2_relu", "Convolution7_relu"]


def test_groups_are_on_the_first_and_the_split_convolutions(table):
    rows = table("squeezenext_23_g")
    grouped = [i for i in range(1, 13) if rows[f"Convolution{i}"].kernel.endswith("g2")]
    assert grouped == [3, 5, 6, 8, 10, 11]


def test_every_convolution_is_without_bias_and_normalised(outlined):
    model = outlined("squeezenext_23")
    for number in range(1, 112):
        convolution = model.get_layer(f"Convolution{number}")
        norm = model.get_layer(f"BatchNorm{number}")
        assert not convolution.use_bias
        assert names([norm.input]) == [convolution.name]
        assert names([model.get_layer(f"Convolution{number}_relu").input]) == [norm.name]
    assert not model.get_layer("fc1000").use_bias


def test_relu_follows_each_sum(outlined):
    model = outlined("squeezenext_23")
    for number in range(1, 22):
        assert names([model.get_layer(f"Eltwise{number}_relu").input]) == [f"Eltwise{number}"]
