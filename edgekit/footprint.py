"""What a model needs of memory and what a delegate takes of its arithmetic, counted in the file's graph."""

from __future__ import annotations

import msgspec

from edgekit.errors import EdgekitError
from edgekit.measurement import Delegation, Memory
from edgekit.runtime import Runner

ARENA_METHOD = "counted: activations alive at once when the operators run in file order"


def count(content: bytes, runner: Runner) -> tuple[Memory, Delegation]:
    """Weights and activations of the file, and the delegation with its MACs.

    The runtimes tell Python nothing of the arena that they allocate. What is counted is what any plan for it has to
    hold at once; a delegate plans its own, and may share more (in place) or less. Where the graph cannot be read, the
    figures are None and the method says why.
    """
    delegation = runner.delegation()
    try:
        from edgekit import graph

        parsed = graph.load(content)
        taken = runner.delegated()
        macs = [parsed.macs(operator) for operator in parsed.operators]
    except EdgekitError as error:
        return Memory(None, None, f"not known: {error}"), delegation
    memory = Memory(parsed.weight_bytes(), parsed.peak_activation_bytes(), ARENA_METHOD)
    macs_taken = sum(count for number, count in enumerate(macs) if number in taken)
    return memory, msgspec.structs.replace(delegation, macs=sum(macs), macs_taken=macs_taken)
