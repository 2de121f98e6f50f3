"""Modelled energy: counts times the 45 nm table, apart from all measured ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit import graph, modelled
from edgekit.errors import UnsupportedModelError
from edgekit.graph import Graph
from edgekit.measurement import Energy, Modelled

COUNT = st.integers(0, 10**12)


def test_each_count_has_the_energy_of_the_table() -> None:
    assert modelled.from_counts({"int8": 10**6}, sram_bytes=0, dram_bytes=0).arithmetic_j == pytest.approx(0.3e-6)
    assert modelled.from_counts({"float16": 10**6}, sram_bytes=0, dram_bytes=0).arithmetic_j == pytest.approx(1.5e-6)
    assert modelled.from_counts({"float32": 10**6}, sram_bytes=0, dram_bytes=0).arithmetic_j == pytest.approx(4.6e-6)
    memory = modelled.from_counts({}, sram_bytes=4 * 10**6, dram_bytes=4 * 10**6)
    assert (memory.sram_j, memory.dram_j) == pytest.approx((5e-6, 640e-6))


@given(COUNT, COUNT, COUNT)
def test_the_sum_is_that_of_its_parts(macs: int, sram: int, dram: int) -> None:
    seen = modelled.from_counts({"int8": macs}, sram_bytes=sram, dram_bytes=dram)
    assert seen.modelled_j == pytest.approx(seen.arithmetic_j + seen.sram_j + seen.dram_j)
    assert (seen.macs, seen.sram_bytes, seen.dram_bytes) == (macs, sram, dram)


def test_arithmetic_that_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="no energy of int16; it has int8, float16, float32"):
        modelled.from_counts({"int16": 1}, sram_bytes=0, dram_bytes=0)


def test_a_modelled_energy_has_no_field_of_a_measured_one() -> None:
    assert not set(Modelled.__struct_fields__) & set(Energy.__struct_fields__)


@pytest.mark.assets
def test_a_real_file_is_counted(assets: Path) -> None:
    content = (assets / "tflite" / "mobilenet_v1_0.5_160_quant.tflite").read_bytes()
    loaded = graph.load(content)
    seen = modelled.energy(loaded)
    assert seen.macs == pytest.approx(77e6, rel=0.02)  # as published
    assert seen.dram_bytes == loaded.weight_bytes() == pytest.approx(1.34e6, rel=0.05)
    assert seen.arithmetic_j == pytest.approx(0.3e-12 * seen.macs)
    assert seen.sram_bytes == sum(_moved(loaded))


def _moved(loaded: Graph) -> list[int]:
    """Bytes of every activation, once for each operator that writes or reads it."""
    return [
        loaded.tensors[index].size_bytes
        for operator in loaded.operators
        for index in [*operator.inputs, *operator.outputs]
        if index >= 0 and loaded.tensors[index].data is None
    ]
