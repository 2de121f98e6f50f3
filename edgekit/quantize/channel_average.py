"""An average over neighbouring channels, as local response normalisation takes it, computed by a 1x1 convolution.

TFLite has no operator for it. Keras gives an average pool over an image whose columns are the channels and which has
one channel: XNNPACK has no int8 kernel for that, and pads it value by value. The same sums are a convolution whose
kernel holds 1 / n in a band around its diagonal. That has many more products, most of them by zero, and takes a
fraction of the time even so, in float too. The numbers that the average is multiplied by and added to go into the
kernel and the bias. Exact but for the rounding of floats.
"""

from __future__ import annotations

import numpy as np

from edgekit.graph import Array, Graph, Operator, Tensor, constant, new_options

_ARITHMETIC = ("MUL", "ADD")


def average_by_convolution(graph: Graph) -> None:
    """Replaces every average over a channel's neighbours, and the arithmetic with single numbers after it."""
    for pool in [operator for operator in graph.operators if operator.kind == "AVERAGE_POOL_2D"]:
        run = _run(graph, pool)
        if run is not None:
            _replace(graph, run)


def _run(graph: Graph, pool: Operator) -> list[Operator] | None:
    """RESHAPE, PAD, the pool, MUL and ADD by a number, RESHAPE back, if that is what stands there; otherwise None."""
    pad = graph.producer(pool.inputs[0])
    opening = graph.producer(pad.inputs[0]) if pad is not None and pad.kind == "PAD" else None
    if pad is None or opening is None or not _averages_channels(graph, opening, pad, pool):
        return None
    run = [opening, pad, pool]
    while (following := _only_reader(graph, run[-1])) and _number(graph, following) is not None:
        run.append(following)
    closes = following is not None and following.kind == "RESHAPE" and _shape(graph, following) == _source(graph, run)
    alone = all(_only_reader(graph, step) for step in run)
    return [*run, following] if following is not None and closes and alone else None


def _averages_channels(graph: Graph, opening: Operator, pad: Operator, pool: Operator) -> bool:
    """Whether channels become columns, columns are padded alone, and the window slides over them one by one."""
    source, amounts = graph.tensors[opening.inputs[0]], graph.tensors[pad.inputs[1]].data
    if opening.kind != "RESHAPE" or source.dtype != "float32" or len(source.shape) != 4 or amounts is None:
        return False
    as_columns = len(_shape(graph, opening)) == 4 and _shape(graph, opening)[2:] == (source.shape[3], 1)
    options, valid, none = pool.options, constant("Padding", "VALID"), constant("ActivationFunctionType", "NONE")
    slides = (options.filterHeight, options.strideH, options.strideW) == (1, 1, 1)
    plain = options.padding == valid and options.fusedActivationFunction == none
    keeps_size = as_columns and amounts[2].sum() == amounts.sum() == options.filterWidth - 1
    return bool(as_columns and slides and plain and keeps_size)


def _only_reader(graph: Graph, operator: Operator) -> Operator | None:
    """What reads an operator's output, if nothing else sees that."""
    readers = graph.consumers(operator.outputs[0])
    return readers[0] if len(readers) == 1 and operator.outputs[0] not in graph.outputs else None


def _number(graph: Graph, operator: Operator) -> float | None:
    """The one number that an operator multiplies everything by or adds to it; None if it does something else."""
    if operator.kind not in _ARITHMETIC or operator.options.fusedActivationFunction:
        return None
    constants = [data for index in operator.inputs if (data := graph.tensors[index].data) is not None]
    return float(constants[0].reshape(())) if len(constants) == 1 and constants[0].size == 1 else None


def _shape(graph: Graph, operator: Operator) -> tuple[int, ...]:
    return graph.tensors[operator.outputs[0]].shape


def _source(graph: Graph, run: list[Operator]) -> tuple[int, ...]:
    return graph.tensors[run[0].inputs[0]].shape


def _replace(graph: Graph, run: list[Operator]) -> None:
    channels, output = _source(graph, run)[3], run[-1].outputs[0]
    kernel, bias = _parameters(graph, run, channels)
    name = graph.tensors[output].name.split(";")[0]
    inputs = [
        run[0].inputs[0],
        graph.add_tensor(Tensor(f"{name}_kernel", kernel.shape, "float32", kernel)),
        graph.add_tensor(Tensor(f"{name}_bias", bias.shape, "float32", bias)),
    ]
    options = new_options("Conv2DOptions", strideH=1, strideW=1)
    convolution = Operator("CONV_2D", inputs, [output], options, constant("BuiltinOptions", "Conv2DOptions"))
    graph.operators[graph.operators.index(run[-1])] = convolution
    for operator in run[:-1]:
        graph.operators.remove(operator)


def _parameters(graph: Graph, run: list[Operator], channels: int) -> tuple[Array, Array]:
    """The kernel (channels, 1, 1, channels) and the bias."""
    _opening, pad, pool, *arithmetic, _closing = run
    amounts, window = graph.tensors[pad.inputs[1]].data, pool.options.filterWidth
    assert amounts is not None
    scale, shift = 1.0, 0.0
    for operator in arithmetic:
        number = _number(graph, operator)
        assert number is not None
        scale, shift = (scale * number, shift * number) if operator.kind == "MUL" else (scale, shift + number)
    offset = np.arange(channels) - np.arange(channels)[:, None] + int(amounts[2][0])  # of a channel in each window
    kernel = np.where((offset >= 0) & (offset < window), scale / window, 0.0)
    return kernel.reshape(channels, 1, 1, channels).astype(np.float32), np.full(channels, shift, np.float32)
