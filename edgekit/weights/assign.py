"""Puts a Weights record into a built Keras model, checking everything before it changes anything.

Asks layers for their class names, shapes and arrays only, so it needs no import of Keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.errors import WeightsMismatchError
from edgekit.weights.record import FloatArray, Kind, LayerWeights, Weights

KINDS: dict[str, Kind] = {
    "DepthwiseConv2D": "depthwise",
    "Conv2D": "conv",
    "Dense": "dense",
    "BatchNormalization": "batch_norm",
}
Pairs = list[tuple[Any, LayerWeights]]  # a layer of the model and what the file has for it


@dataclass(frozen=True)
class Network:
    """A Keras model taken apart: its weighted layers in graph order, and by id of each layer the one it reads from.

    `names` are those of the file, by the model's.
    """

    kernels: list[Any] = field(default_factory=list)
    batch_norms: list[Any] = field(default_factory=list)
    before: dict[int, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def called(self, layer: Any) -> str:
        """The layer's name in the file."""
        return self.names.get(layer.name, str(layer.name))


def assign(model: Any, weights: Weights, names: Mapping[str, str] | None = None) -> None:
    """Sets every weight of a built keras.Model.

    Layers are matched by name if the model has a layer for every conv, depthwise and dense name of the file, else by
    order where the file has one. `names` gives the file's name of a layer by the model's, where the two differ.
    Where the model normalises after a conv without bias and the file has folded that into a bias, the
    normalisation is set to add the bias and to do nothing else. A dense kernel and a 1x1 conv kernel are
    interchangeable. Raises WeightsMismatchError, naming the first layer that does not fit and both shapes, or the
    layers that are missing; the model is then unchanged.
    """
    network = _take_apart(model, names or {})
    entries = [layer for layer in weights.layers if layer.kind != "batch_norm"]
    pairs, unmatched = _match(network, entries, weights.ordered)
    plan = [(layer, _kernel_values(layer, entry, network, weights.channels_first)) for layer, entry in pairs]
    if unmatched:
        raise WeightsMismatchError(unmatched)
    entries = [layer for layer in weights.layers if layer.kind == "batch_norm"]
    plan += _batch_norm_plan(network, pairs, entries)
    for layer, values in plan:
        layer.set_weights(values)


def _take_apart(model: Any, names: Mapping[str, str]) -> Network:
    network = Network(names=names)
    writers: dict[int, Any] = {}
    for layer in leaves(model):
        network.before[id(layer)] = writers.get(id(getattr(layer, "input", layer)))
        writers[id(getattr(layer, "output", layer))] = layer
        kind = kind_of(layer)
        if kind == "batch_norm":
            network.batch_norms.append(layer)
        elif kind:
            network.kernels.append(layer)
        elif layer.get_weights():
            raise WeightsMismatchError(
                f"the model's {layer.name} is a {type(layer).__name__}; weights can be given to {', '.join(KINDS)} only"
            )
    return network


def leaves(model: Any) -> Iterator[Any]:
    """A model's layers in graph order, those of nested models too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaves(layer)
        else:
            yield layer


def kind_of(layer: Any) -> Kind | None:
    """Which kind of weights a layer has, if any."""
    names = {cls.__name__ for cls in type(layer).__mro__}
    return next((kind for name, kind in KINDS.items() if name in names), None)


def _match(network: Network, entries: list[LayerWeights], ordered: bool) -> tuple[Pairs, str]:
    """Pairs in graph order, and what to say about layers without a partner; empty if all have one."""
    layers, by_name = network.kernels, {entry.name: entry for entry in entries}
    known = [network.called(layer) for layer in layers]
    if len(by_name) == len(entries) and by_name.keys() <= {*known}:
        pairs = [(layer, by_name[name]) for layer, name in zip(layers, known, strict=True) if name in by_name]
        return pairs, _missing([layer for layer, name in zip(layers, known, strict=True) if name not in by_name])
    if not ordered:
        stranger = next(entry.name for entry in entries if entry.name not in known)
        raise WeightsMismatchError(
            f"the model has no layer for the file's {stranger}, only {', '.join(known[:3])} and the like, and the "
            "file's layers are in no order that could tell; rename them, or give a file that has one"
        )
    # Some files know the order within a kind only, so depthwise layers queue on their own.
    pairs, alone = [], []
    queues = {True: [e for e in entries if e.kind == "depthwise"], False: [e for e in entries if e.kind != "depthwise"]}
    for layer in layers:
        queue = queues[kind_of(layer) == "depthwise"]
        if queue:
            pairs.append((layer, queue.pop(0)))
        else:
            alone.append(layer)
    surplus = ", ".join(entry.name for queue in queues.values() for entry in queue)
    return pairs, _missing(alone) or (f"the model has no layer for the file's {surplus}" if surplus else "")


def _missing(layers: Sequence[Any]) -> str:
    names = ", ".join(layer.name for layer in layers)
    return f"the file has no weights for the model's {names}" if names else ""


def _kernel_values(layer: Any, entry: LayerWeights, network: Network, channels_first: bool) -> list[FloatArray]:
    values = [_fitted_kernel(layer, entry, network, channels_first)]
    bias = entry.arrays.get("bias")
    if layer.use_bias and bias is None:
        raise WeightsMismatchError(
            f"the model's {layer.name} has a bias of {values[0].shape[-1:]}, the file's has none"
        )
    if layer.use_bias and bias is not None:
        _same_shape(layer.name, "bias", _shape(layer.bias), bias.shape)
        values.append(bias)
    elif bias is not None and all(network.before[id(norm)] is not layer for norm in network.batch_norms):
        raise WeightsMismatchError(
            f"the file's {entry.name} has a bias of {bias.shape}, the model's {layer.name} has none and no batch "
            "normalisation that could take it"
        )
    return values


def _fitted_kernel(layer: Any, entry: LayerWeights, network: Network, channels_first: bool) -> FloatArray:
    kernel, wanted = entry.kernel, _shape(layer.kernel)
    if channels_first and entry.kind == "dense":
        kernel = _channels_last(kernel, _flattened(layer, network))
    kinds = {entry.kind, kind_of(layer)}
    if kinds == {"conv", "dense"} and kernel.shape[-2:] == wanted[-2:] and kernel.size == np.prod(wanted):
        kernel = kernel.reshape(wanted)
    if ("depthwise" in kinds and len(kinds) > 1) or kernel.shape != wanted:
        hint = ""
        if kernel.shape == (*wanted[:-1], wanted[-1] + 1):
            hint = "; the file has one class more, so perhaps a background to drop with drop_background"
        raise WeightsMismatchError(
            f"weights do not fit: the model's {layer.name} ({kind_of(layer)}) is {wanted}, "
            f"the file's {entry.name} ({entry.kind}) is {entry.kernel.shape}{hint}"
        )
    return kernel


def _flattened(layer: Any, network: Network) -> tuple[int, ...]:
    """The (height, width, channels) of the feature map that a dense layer reads flattened; empty if it reads none."""
    source = network.before[id(layer)]
    while source is not None and type(source).__name__ == "Dropout":
        source = network.before[id(source)]
    if source is None or type(source).__name__ not in ("Flatten", "Reshape"):
        return ()
    return tuple(source.input.shape[1:])


def _channels_last(kernel: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Reorders the rows of a dense kernel from (channel, row, column) to Keras's (row, column, channel)."""
    if len(shape) != 3 or kernel.shape[0] != np.prod(shape):
        return kernel
    height, width, channels = shape
    rows = kernel.reshape(channels, height, width, -1)
    return np.ascontiguousarray(rows.transpose(1, 2, 0, 3)).reshape(kernel.shape)


def _batch_norm_plan(network: Network, pairs: Pairs, entries: list[LayerWeights]) -> list[tuple[Any, list[FloatArray]]]:
    kernels = {id(layer): entry for layer, entry in pairs}
    given = _match_batch_norms(network, kernels, entries)
    plan = []
    for norm in network.batch_norms:
        source = network.before[id(norm)]
        bias = kernels[id(source)].arrays.get("bias") if id(source) in kernels else None
        if id(norm) not in given and bias is None:
            raise WeightsMismatchError(f"{_missing([norm])}, and no bias that it was folded into")
        zeros = np.zeros(_shape(norm.moving_mean), np.float32)
        # What the file adds to the layer's output and the model's layer does not.
        added = zeros if bias is None or source.use_bias else bias
        _same_shape(norm.name, "bias", zeros.shape, added.shape)
        entry = given.get(id(norm)) or _adding(norm.name, added)
        plan.append((norm, _batch_norm_values(norm, entry, added if id(norm) in given else zeros)))
    return plan


def _match_batch_norms(
    network: Network, kernels: dict[int, LayerWeights], entries: list[LayerWeights]
) -> dict[int, LayerWeights]:
    """What the file has for each batch normalisation, by id: behind the same layer, else by name, else by order."""
    sources = {id(norm): kernels.get(id(network.before[id(norm)])) for norm in network.batch_norms}
    behind = {entry.after: entry for entry in entries if entry.after}
    matched = {norm: behind[source.name] for norm, source in sources.items() if source and source.name in behind}
    free = [norm for norm in network.batch_norms if id(norm) not in matched]
    rest = [entry for entry in entries if all(entry is not other for other in matched.values())]
    by_name = {entry.name: entry for entry in rest}
    if by_name.keys() <= {network.called(norm) for norm in free} and len(by_name) == len(rest):
        called = {id(norm): network.called(norm) for norm in free}
        return matched | {norm: by_name[name] for norm, name in called.items() if name in by_name}
    if len(rest) != len(free):
        raise WeightsMismatchError(
            f"the file normalises {len(entries)} times ({rest[0].name} is the first without a partner), "
            f"the model {len(network.batch_norms)} times"
        )
    return matched | {id(norm): entry for norm, entry in zip(free, rest, strict=True)}


def _adding(name: str, bias: FloatArray) -> LayerWeights:
    """A normalisation that adds a bias and does nothing else: variance and epsilon sum to 1."""
    arrays = {"beta": bias, "mean": np.zeros_like(bias), "variance": np.ones_like(bias)}
    return LayerWeights(name, "batch_norm", arrays, epsilon=0.0)


def _batch_norm_values(norm: Any, entry: LayerWeights, bias: FloatArray) -> list[FloatArray]:
    """The normalisation's arrays in Keras's order; `bias` is added before it in the file but not in the model."""
    channels = _shape(norm.moving_mean)
    neutral = {"gamma": np.ones(channels, np.float32), "beta": np.zeros(channels, np.float32)}
    arrays = {**neutral, **entry.arrays}
    for name, array in arrays.items():
        _same_shape(norm.name, name, channels, array.shape)
    for name, trained in (("gamma", norm.scale), ("beta", norm.center)):
        if not trained and not np.array_equal(arrays[name], neutral[name]):
            raise WeightsMismatchError(f"the file's {entry.name} has a {name}, the model's {norm.name} has none")
    arrays["mean"] = arrays["mean"] - bias
    if entry.epsilon is not None:  # only the sum of variance and epsilon counts
        arrays["variance"] = arrays["variance"] + np.float32(entry.epsilon - norm.epsilon)
    names = ["gamma"] * norm.scale + ["beta"] * norm.center + ["mean", "variance"]
    return [arrays[name] for name in names]


def _same_shape(layer: str, array: str, wanted: tuple[int, ...], found: tuple[int, ...]) -> None:
    if wanted != found:
        raise WeightsMismatchError(
            f"weights do not fit: the model's {layer} has a {array} of {wanted}, the file {found}"
        )


def _shape(variable: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in variable.shape)
