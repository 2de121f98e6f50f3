"""Float .tflite graphs written by hand, one operator at a time, and what their integer forms are held against."""

from __future__ import annotations

import numpy as np

from edgekit import graph as graphs
from edgekit.graph import NO_TENSOR, Array, Graph, Operator, Tensor, constant, new_options
from edgekit.runtime import Runner

RELU = 1  # of the schema's ActivationFunctionType
VALID = 1  # of the schema's Padding
_OPTIONS = {
    "ABS": "AbsOptions",
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DIV": "DivOptions",
    "EXPAND_DIMS": "ExpandDimsOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "LOCAL_RESPONSE_NORMALIZATION": "LocalResponseNormalizationOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SHAPE": "ShapeOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
    "SQUEEZE": "SqueezeOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TILE": "TileOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}
_DEFAULTS = {
    "CONV_2D": {"strideH": 1, "strideW": 1},
    "DEPTHWISE_CONV_2D": {"strideH": 1, "strideW": 1, "depthMultiplier": 1},
    "SHAPE": {"outType": constant("TensorType", "INT32")},
    "SOFTMAX": {"beta": 1.0},
    "TRANSPOSE_CONV": {"strideH": 1, "strideW": 1},
}


class Net:
    """A float graph that grows: every method adds one operator and returns the tensor that it writes."""

    def __init__(self, *shapes: tuple[int, ...], seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.graph = Graph([], [], [], [])
        for number, shape in enumerate(shapes):
            self.graph.inputs.append(self.graph.add_tensor(Tensor(f"input{number}", shape, "float32")))

    def constant(self, values: object, dtype: str = "float32") -> int:
        data = np.array(values, dtype)
        return self.graph.add_tensor(Tensor(f"constant{len(self.graph.tensors)}", data.shape, dtype, data))

    def weights(self, *shape: int, spread: float = 0.3) -> int:
        return self.constant(self.random.normal(0, spread, shape))

    def add(self, kind: str, inputs: list[int], *shapes: tuple[int, ...], **options: object) -> int:
        """One operator with one output per shape; returns the first of them."""
        outputs = [
            self.graph.add_tensor(Tensor(f"{kind.lower()}{len(self.graph.tensors)}", shape, "float32"))
            for shape in shapes
        ]
        self.graph.operators.append(operator(kind, inputs, outputs, **options))
        return outputs[0]

    def conv(self, data: int, filters: int, size: int = 1, *, groups: int = 1, **options: object) -> int:
        """A convolution with SAME padding and random weights."""
        batch, height, width, channels = self.graph.tensors[data].shape
        stride = int(str(options.get("strideH", 1)))
        shape = (batch, -(-height // stride), -(-width // stride), filters)
        kernel, bias = self.weights(filters, size, size, channels // groups), self.weights(filters)
        return self.add("CONV_2D", [data, kernel, bias], shape, **options)

    def done(self, *outputs: int) -> bytes:
        """The file; it ends in the operator added last if no outputs are named."""
        self.graph.outputs = list(outputs) or [self.graph.operators[-1].outputs[0]]
        return graphs.dump(self.graph)

    def sign(self, *outputs: str) -> bytes:
        """The file, finished before, with a signature: the inputs by their tensors' names, the outputs as told."""
        named = [[(self.graph.tensors[index].name, index) for index in self.graph.inputs]]
        named.append(list(zip(outputs, self.graph.outputs, strict=True)))
        maps = [[new_options("TensorMap", name=name, tensorIndex=index) for name, index in part] for part in named]
        self.graph.signatures = [
            new_options("SignatureDef", signatureKey="serving_default", inputs=maps[0], outputs=maps[1])
        ]
        return graphs.dump(self.graph)


def operator(kind: str, inputs: list[int], outputs: list[int], **options: object) -> Operator:
    """An operator with its option table, where its kind has one."""
    table = _OPTIONS.get(kind)
    if table is None:
        return Operator(kind, inputs, outputs)
    made = new_options(table, **{**_DEFAULTS.get(kind, {}), **options})
    return Operator(kind, inputs, outputs, made, constant("BuiltinOptions", table))


def noise(*shape: int, count: int = 4, seed: int = 1) -> list[Array]:
    """Float samples of mean 0 and spread 1."""
    return list(np.random.default_rng(seed).normal(0, 1, (count, *shape)).astype(np.float32))


def answers(model: bytes, sample: Array, *, delegate: bool = True) -> list[Array]:
    """What the model answers to a real sample, as real values."""
    runner = Runner(model, delegate=delegate)
    runner.set_input(runner.input.quantize(sample))
    runner.invoke()
    return [info.dequantize(runner.get_output(position)) for position, info in enumerate(runner.outputs)]


def real(tensor: Tensor, stored: Array) -> Array:
    """Real values, float64, of what a tensor holds."""
    if tensor.quantization is None:
        return stored.astype(np.float64) if stored.dtype.kind == "f" else stored
    shape = [1] * stored.ndim
    if tensor.quantization.per_channel:
        shape[tensor.quantization.axis] = -1
    scale = tensor.quantization.scale.astype(np.float64).reshape(shape)
    return (stored - tensor.quantization.zero_point.reshape(shape)) * scale


def steps_off(model: bytes, sample: Array, *, delegate: bool = True) -> list[tuple[str, float]]:
    """How far each operator is from its float form on the same input, in steps of its output's scale.

    The model runs once; every operator is then done again in float on the real values of the inputs that it had, and
    cut off where its output's scale ends. For float outputs a step is a millionth of the largest value.
    """
    graph, runner = graphs.load(model), Runner(model, delegate=delegate, keep_tensors=True)
    runner.run(runner.input.quantize(sample))
    values = {
        index: real(tensor, runner.tensor(index) if tensor.data is None else tensor.data)
        for index, tensor in enumerate(graph.tensors)
    }
    found = []
    for done in graph.operators:
        index = done.outputs[0]
        expected, step = _stored_range(graph.tensors[index], in_float(graph, done, values))
        found.append((done.kind, float(np.abs(values[index] - expected).max()) / step))
    return found


def _stored_range(tensor: Tensor, values: Array) -> tuple[Array, float]:
    if tensor.quantization is None:
        return values, 1e-6 * float(np.abs(values).max() + 1e-9)
    limits = np.iinfo(tensor.dtype)
    return np.clip(values, *real(tensor, np.array([limits.min, limits.max]))), float(tensor.quantization.scale[0])


def in_float(graph: Graph, done: Operator, values: dict[int, Array]) -> Array:
    """The first output of one operator of an integer graph, computed by the float kernel."""
    if done.kind in ("QUANTIZE", "DEQUANTIZE"):
        return values[done.inputs[0]]
    tensors = [
        Tensor("in", values[index].shape, "float32", values[index].astype(np.float32))
        if values[index].dtype.kind == "f"
        else Tensor("in", values[index].shape, str(values[index].dtype), values[index])
        for index in done.activations
    ]
    numbers = iter(range(len(tensors)))
    inputs = [NO_TENSOR if index == NO_TENSOR else next(numbers) for index in done.inputs]
    fed = [number for number, index in zip(inputs, done.inputs, strict=True) if _flows(graph, index)]
    outputs = list(range(len(tensors), len(tensors) + len(done.outputs)))
    tensors += [Tensor("out", graph.tensors[index].shape, "float32") for index in done.outputs]
    fed_values = [tensors[number].data for number in fed]
    for number in fed:
        tensors[number].data = None
    alone = Operator(done.kind, inputs, outputs, done.options, done.options_type)
    runner = Runner(graphs.dump(Graph(tensors, [alone], fed, outputs)), delegate=False)
    for position, fed_value in enumerate(fed_values):
        assert fed_value is not None
        runner.set_input(fed_value, position)
    runner.invoke()
    return runner.get_output().astype(np.float64)


def _flows(graph: Graph, index: int) -> bool:
    return index != NO_TENSOR and graph.tensors[index].data is None
