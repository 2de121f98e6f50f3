"""Energy from counts: what a table of energies per operation gives for one inference. Nothing here is measured.

The energies are those of M. Horowitz, "Computing's energy problem", ISSCC 2014, and their memory column by Han et al.,
"Learning both weights and connections for efficient neural networks", 2015.
Kept apart from the meters, and in a record of its own, so that it is never taken for a reading.
"""

from __future__ import annotations

from edgekit.errors import UnsupportedModelError
from edgekit.graph import Graph, Operator
from edgekit.measurement import Modelled

TABLE = "45 nm (Horowitz 2014)"
# Picojoules. A multiply-accumulate is one multiplication and one addition in the type of its sum.
_MULTIPLY = {"int8": 0.2, "float16": 1.1, "float32": 3.7}
_ADD = {"int8": 0.1, "float16": 0.4, "float32": 0.9}  # int8 products are summed in int32
_SRAM_WORD, _DRAM_WORD = 5.0, 640.0
_WORD_BYTES = 4


def energy(graph: Graph) -> Modelled:
    """Arithmetic of convolutions and dense layers, constants once from DRAM, every activation to and from SRAM.

    So it holds for a device that keeps activations on the chip and no weights; caches, control and leakage are not in
    it. Comparing networks is what it is for, not saying what a device draws. UnsupportedModelError for arithmetic
    that the table does not have.
    """
    macs: dict[str, int] = {}
    for operator in graph.operators:
        if operator.has_weights:
            kind = _arithmetic(graph, operator)
            macs[kind] = macs.get(kind, 0) + graph.macs(operator)
    moved = [index for operator in graph.operators for index in (*operator.activations, *operator.outputs)]
    constants = _constants(graph)
    sram_bytes = sum(graph.tensors[index].size_bytes for index in moved if index not in constants)
    return from_counts(macs, sram_bytes=sram_bytes, dram_bytes=graph.weight_bytes())


def from_counts(macs: dict[str, int], *, sram_bytes: int, dram_bytes: int) -> Modelled:
    """The energy of so many multiply-accumulates by type (int8, float16, float32) and bytes moved."""
    unknown = sorted(macs.keys() - _MULTIPLY.keys())
    if unknown:
        raise UnsupportedModelError(f"the 45 nm table has no energy of {', '.join(unknown)}; it has {', '.join(_ADD)}")
    arithmetic_j = sum(count * (_MULTIPLY[kind] + _ADD[kind]) for kind, count in macs.items()) * 1e-12
    sram_j = sram_bytes / _WORD_BYTES * _SRAM_WORD * 1e-12
    dram_j = dram_bytes / _WORD_BYTES * _DRAM_WORD * 1e-12
    return Modelled(
        modelled_j=arithmetic_j + sram_j + dram_j,
        arithmetic_j=arithmetic_j,
        sram_j=sram_j,
        dram_j=dram_j,
        macs=sum(macs.values()),
        sram_bytes=sram_bytes,
        dram_bytes=dram_bytes,
        table=TABLE,
    )


def _constants(graph: Graph) -> set[int]:
    """Tensors that hold the same in every inference: those of the file, and what is made of them alone."""
    constants = {index for index, tensor in enumerate(graph.tensors) if tensor.data is not None}
    for operator in graph.operators:
        if constants.issuperset(operator.activations):
            constants.update(operator.outputs)
    return constants


def _arithmetic(graph: Graph, operator: Operator) -> str:
    """The type that an operator computes in: its activations', for weights may be stored in fewer bits."""
    dtype = graph.tensors[operator.data].dtype.lower()
    return "int8" if dtype in ("int8", "uint8") else dtype
