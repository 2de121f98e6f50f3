"""SqueezeNet against the paper's Table 1 and the authors' files."""

from __future__ import annotations

import pytest

from edgekit import models
from edgekit.models.squeezenet import Fire, fire_modules

# Parameters of each layer before pruning: Table 1 of arXiv:1602.07360.
TABLE_1_PARAMS = {
    "conv1": 14_208,
    "fire2": 11_920,
    "fire3": 12_432,
    "fire4": 45_344,
    "fire5": 49_440,
    "fire6": 104_880,
    "fire7": 111_024,
    "fire8": 188_992,
    "fire9": 197_184,
    "conv10": 513_000,
}
# Output sizes of the same table, which are those of a 227-pixel image; but conv10 is padded in the authors' file.
TABLE_1_SHAPES = {
    "conv1": (111, 111, 96),
    "pool1": (55, 55, 96),
    "fire2_concat": (55, 55, 128),
    "fire3_concat": (55, 55, 128),
    "fire4_concat": (55, 55, 256),
    "pool4": (27, 27, 256),
    "fire5_concat": (27, 27, 256),
    "fire6_concat": (27, 27, 384),
    "fire7_concat": (27, 27, 384),
    "fire8_concat": (27, 27, 512),
    "pool8": (13, 13, 512),
    "fire9_concat": (13, 13, 512),
    "conv10": (15, 15, 1000),
    "pool10": (1000,),
}
CONVOLUTIONS = [
    "conv1",
    *(f"fire{i}_{part}" for i in range(2, 10) for part in ("squeeze1x1", "expand1x1", "expand3x3")),
    "conv10",
]


def test_the_rule_gives_v1_0():
    assert fire_modules(models.find("squeezenet")) == [
        Fire(16, 64, 64),
        Fire(16, 64, 64),
        Fire(32, 128, 128),
        Fire(32, 128, 128),
        Fire(48, 192, 192),
        Fire(48, 192, 192),
        Fire(64, 256, 256),
        Fire(64, 256, 256),
    ]


def test_metaparameters_move_the_widths():
    options = {"base_e": 64, "incr_e": 32, "freq": 4, "pct3x3": 0.25, "sr": 0.75}
    modules = fire_modules(models.find("squeezenet", options=options))
    assert modules == [Fire(48, 48, 16)] * 4 + [Fire(72, 72, 24)] * 4


def test_no_convolution_is_left_without_filters():
    options = {"base_e": 8, "incr_e": 0, "pct3x3": 0.01, "sr": 0.01}
    assert fire_modules(models.find("squeezenet", options=options))[0] == Fire(1, 7, 1)


@pytest.mark.export
def test_parameters_layer_by_layer(table):
    params = dict.fromkeys(TABLE_1_PARAMS, 0)
    for row in table("squeezenet_v1_0").values():
        if row.params:
            params[row.name.split("_")[0]] += row.params
    assert params == TABLE_1_PARAMS
    assert sum(params.values()) == 1_248_424


@pytest.mark.export
def test_output_shapes_of_table_1(table):
    rows = table("squeezenet_v1_0")
    assert {name: rows[name].output_shape for name in TABLE_1_SHAPES} == TABLE_1_SHAPES


@pytest.mark.export
@pytest.mark.parametrize("name", ["squeezenet_v1_0", "squeezenet_v1_1"])
def test_convolutions_come_in_the_files_order(name, table):
    assert [row.name for row in table(name).values() if row.kind == "conv"] == CONVOLUTIONS


@pytest.mark.export
@pytest.mark.parametrize(
    ("name", "size", "macs_m"),
    [
        ("squeezenet_v1_0", 227, 861.3),
        ("squeezenet_v1_0", 224, 847.6),
        ("squeezenet_v1_1", 227, 387.7),
        ("squeezenet_v1_1", 224, 349.2),
        ("squeezenet_v1_0_simple_bypass", 224, 847.6),
        ("squeezenet_v1_0_complex_bypass", 227, 1212.6),
        ("squeezenet_v1_0_complex_bypass", 224, 1194.0),
    ],
)
def test_macs(name, size, macs_m, outlined):
    assert round(models.count(outlined(name, size))[1] / 1e6, 1) == macs_m


@pytest.mark.export
def test_v1_1_pools_early_and_pads_nothing(table):
    rows = table("squeezenet_v1_1")
    assert rows["conv1"].kernel == "3x3/2"
    assert {name: row.output_shape for name, row in rows.items() if "pool" in name or name == "conv10"} == {
        "pool1": (55, 55, 64),
        "pool3": (27, 27, 128),
        "pool5": (13, 13, 256),
        "conv10": (13, 13, 1000),
        "pool10": (1000,),
    }


@pytest.mark.export
def test_pools_round_up(table):
    shapes = [table("squeezenet_v1_1", 227)[name].output_shape[0] for name in ("conv1", "pool1", "pool3", "pool5")]
    assert shapes == [113, 56, 28, 14]


@pytest.mark.export
def test_simple_bypass_goes_around_every_second_module(table):
    rows = table("squeezenet_v1_0_simple_bypass")
    assert [name for name in rows if "bypass" in name] == [f"fire{i}_bypass" for i in (3, 5, 7, 9)]


@pytest.mark.export
def test_complex_bypass_convolves_around_the_others(table):
    rows = table("squeezenet_v1_0_complex_bypass")
    convolutions = {name: row.output_shape[-1] for name, row in rows.items() if name.endswith("bypass1x1")}
    assert convolutions == {f"fire{i}_bypass1x1": 64 * i for i in (2, 4, 6, 8)}
    assert [name for name in rows if name.endswith("bypass")] == [f"fire{i}_bypass" for i in range(2, 10)]


@pytest.mark.export
def test_relu_everywhere_and_dropout_before_conv10(outlined):
    model = outlined("squeezenet_v1_0")
    assert all(model.get_layer(name).activation.__name__ == "relu" for name in CONVOLUTIONS)
    assert model.get_layer("drop9").rate == 0.5
    assert model.get_layer("conv10_pad").padding == ((1, 1), (1, 1))
