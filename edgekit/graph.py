"""A .tflite flatbuffer as a graph that can be read, edited and written.

The schema is the one that ships with LiteRT; nothing is executed here.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import math
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import FileFormatError, MissingError

Array = NDArray[Any]
NO_TENSOR = -1
_PASSING_ON = ("QUANTIZE", "DEQUANTIZE", "EXPAND_DIMS", "RESHAPE", "SQUEEZE")
_MEANINGS = {"SOFTMAX": "probabilities", "LOGISTIC": "scores"}
_WEIGHTED = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}


@dataclass
class Quantization:
    """Affine parameters: real = scale * (stored - zero_point), one pair per slice of `axis`, or one for all."""

    scale: Array
    zero_point: Array
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        """Whether there is more than one scale."""
        return len(self.scale) > 1


@dataclass(eq=False)
class Tensor:
    """A value in the graph; `data` is set for constants; `dtype` is numpy's name for the type, or TFLite's."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: Array | None = None
    quantization: Quantization | None = None
    shape_signature: tuple[int, ...] | None = None
    variable: bool = False

    @property
    def elements(self) -> int:
        """How many values it holds; dynamic dimensions count as 1."""
        return math.prod(max(size, 1) for size in self.shape)

    @property
    def size_bytes(self) -> int:
        """How many bytes those values take."""
        return math.ceil(self.elements * _BITS.get(self.dtype, 32) / 8)


@dataclass(eq=False)
class Operator:
    """One operation; `options` is the schema's option table for this kind, or None."""

    kind: str
    inputs: list[int]
    outputs: list[int]
    options: Any = None
    options_type: int = 0
    custom_code: str | None = None
    custom_options: Array | None = None
    version: int = 1

    @property
    def activations(self) -> list[int]:
        """The inputs that are present."""
        return [index for index in self.inputs if index != NO_TENSOR]

    @property
    def has_weights(self) -> bool:
        """Whether the second input is a kernel, and `data` and `bias` say where the others are."""
        return self.kind in _WEIGHTED

    @property
    def data(self) -> int:
        """What the kernel is applied to; a TRANSPOSE_CONV has its output shape first."""
        return self.inputs[2 if self.kind == "TRANSPOSE_CONV" else 0]

    @property
    def bias(self) -> int:
        """What is added to each output channel, or NO_TENSOR."""
        return self.inputs[self.bias_position] if len(self.inputs) > self.bias_position else NO_TENSOR

    @property
    def bias_position(self) -> int:
        """Which input the bias is, where there is one."""
        return 3 if self.kind == "TRANSPOSE_CONV" else 2


@dataclass
class Graph:
    """One subgraph with everything the file says about it."""

    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]
    metadata: dict[str, bytes] = field(default_factory=dict)
    signatures: list[Any] = field(default_factory=list)
    description: str = ""
    subgraphs: int = 1

    def producer(self, tensor: int) -> Operator | None:
        """The operator that writes a tensor, or None for inputs and constants."""
        return next((operator for operator in self.operators if tensor in operator.outputs), None)

    def consumers(self, tensor: int) -> list[Operator]:
        """The operators that read a tensor, in graph order."""
        return [operator for operator in self.operators if tensor in operator.inputs]

    def add_tensor(self, tensor: Tensor) -> int:
        """Appends a tensor and returns its index."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def copy(self) -> Graph:
        """A graph that can be edited without changing this one; the constants themselves are shared."""
        return dataclasses.replace(
            self,
            tensors=[dataclasses.replace(tensor) for tensor in self.tensors],
            operators=[
                dataclasses.replace(
                    operator,
                    inputs=list(operator.inputs),
                    outputs=list(operator.outputs),
                    options=copy.copy(operator.options),
                )
                for operator in self.operators
            ],
            inputs=list(self.inputs),
            outputs=list(self.outputs),
            metadata=dict(self.metadata),
            signatures=copy.deepcopy(self.signatures),
        )

    def rename_in_signatures(self, old: int, new: int) -> None:
        """Lets the signatures name tensor `new` where they named `old`."""
        for entry in self._signature_entries():
            if entry.tensorIndex == old:
                entry.tensorIndex = new

    def _signature_entries(self) -> list[Any]:
        lists = [part for signature in self.signatures for part in (signature.inputs, signature.outputs)]
        return [entry for entries in lists for entry in entries or []]

    def name_apart(self) -> None:
        """Gives activations without a name, or with the name of another one, names that no other tensor has.

        They follow from the file alone: whoever loads the same file finds the same names.
        """
        computed = {*self.inputs, *(index for operator in self.operators for index in operator.outputs)}
        times = Counter(self.tensors[index].name for index in computed)
        taken = {tensor.name for tensor in self.tensors}
        for index in sorted(computed):
            tensor = self.tensors[index]
            if not tensor.name or times[tensor.name] > 1:
                tensor.name = _free(f"{tensor.name or 'tensor'}_{index}", taken)
                taken.add(tensor.name)

    def output_kind(self) -> str:
        """What the first output means: "probabilities" after a softmax, "scores" after a sigmoid, else "logits".

        Conversions and changes of shape behind it are looked through.
        """
        operator = self.producer(self.outputs[0])
        while operator is not None and operator.kind in _PASSING_ON:
            operator = self.producer(operator.inputs[0])
        return _MEANINGS.get("" if operator is None else operator.kind, "logits")

    def drop_unused(self) -> dict[int, int]:
        """Removes the tensors that nothing reads or writes, and renumbers the rest; returns new numbers by old."""
        used = {*self.inputs, *self.outputs, *(entry.tensorIndex for entry in self._signature_entries())}
        for operator in self.operators:
            used |= {*operator.activations, *operator.outputs}
        number = {old: new for new, old in enumerate(sorted(used))}
        number[NO_TENSOR] = NO_TENSOR
        self.tensors = [self.tensors[index] for index in sorted(used)]
        self.inputs = [number[index] for index in self.inputs]
        self.outputs = [number[index] for index in self.outputs]
        for operator in self.operators:
            operator.inputs = [number[index] for index in operator.inputs]
            operator.outputs = [number[index] for index in operator.outputs]
        for entry in self._signature_entries():
            entry.tensorIndex = number[entry.tensorIndex]
        return number

    def macs(self, operator: Operator) -> int:
        """Multiply-accumulates of one inference: convolutions and dense layers only, as the papers count them."""
        if not operator.has_weights:
            return 0
        kernel, output = self.tensors[operator.inputs[1]], self.tensors[operator.outputs[0]]
        if operator.kind == "FULLY_CONNECTED":
            return output.elements * kernel.shape[-1]
        if operator.kind == "TRANSPOSE_CONV":
            return self.tensors[operator.data].elements * math.prod(kernel.shape[:3])
        per_output = kernel.shape[1:] if operator.kind == "CONV_2D" else kernel.shape[1:3]
        return output.elements * math.prod(per_output)

    def weight_bytes(self) -> int:
        """Bytes of all constants."""
        return sum(tensor.data.nbytes for tensor in self.tensors if tensor.data is not None)

    def peak_activation_bytes(self) -> int:
        """The most activation memory alive at once when operators run in file order, without any sharing inside one."""
        last_use = {tensor: step for step, operator in enumerate(self.operators) for tensor in operator.activations}
        last_use.update(dict.fromkeys(self.outputs, len(self.operators)))
        alive = set(self.inputs)
        peak = 0
        for step, operator in enumerate(self.operators):
            alive |= set(operator.outputs)
            peak = max(peak, sum(self.tensors[index].size_bytes for index in alive))
            alive = {index for index in alive if last_use.get(index, -1) > step}
        return peak


def _free(name: str, taken: Container[str]) -> str:
    while name in taken:
        name += "_"
    return name


def load(content: bytes) -> Graph:
    """The graph in a .tflite file's bytes; FileFormatError if it cannot be understood.

    Offsets are not verified here: let the runtime verify bytes of unknown origin first (`edgekit.runtime`).
    """
    schema = _schema()
    try:
        graph = _graph(schema.ModelT.InitFromPackedBuf(content, 0))
        _check_indices(graph)
        return graph
    except Exception as error:  # whatever a damaged offset leads to
        raise FileFormatError(f"damaged flatbuffer ({type(error).__name__}: {error})") from error


def dump(graph: Graph) -> bytes:
    """The bytes of a .tflite file; the inverse of `load` for files with one subgraph."""
    if graph.subgraphs != 1:
        raise FileFormatError(f"the model has {graph.subgraphs} subgraphs; only models with one can be rewritten")
    builder = _builder()(graph.weight_bytes() + (1 << 16))
    builder.Finish(_model(graph).Pack(builder), b"TFL3")
    return bytes(builder.Output())


@functools.cache
def _schema() -> Any:
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ModuleNotFoundError:
        raise MissingError("reading a .tflite file's structure needs LiteRT; run: pip install ai-edge-litert") from None


@functools.cache
def _builder() -> Any:
    """A flatbuffer builder that writes equal arrays once: a kernel per channel has a zero point for each, all 0."""
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.written: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: Array) -> int:  # noqa: N802
            key = x.dtype.str, x.tobytes()
            if key not in self.written:
                self.written[key] = super().CreateNumpyVector(x)
            return self.written[key]

    return SharingBuilder


@functools.cache
def _names(enumeration: str) -> dict[int, str]:
    members = vars(getattr(_schema(), enumeration))
    return {value: name for name, value in members.items() if not name.startswith("_")}


def new_options(kind: str, **values: Any) -> Any:
    """An option table of the schema, such as new_options("Pool2DOptions", strideW=2)."""
    options = getattr(_schema(), f"{kind}T")()
    for name, value in values.items():
        setattr(options, name, value)
    return options


def constant(enumeration: str, name: str) -> int:
    """A value of one of the schema's enumerations, such as constant("Padding", "SAME")."""
    return int(getattr(getattr(_schema(), enumeration), name))


_BITS = {
    **dict.fromkeys(("float64", "int64", "uint64", "complex64"), 64),
    **dict.fromkeys(("float32", "int32", "uint32"), 32),
    **dict.fromkeys(("float16", "bfloat16", "int16", "uint16"), 16),
    **dict.fromkeys(("int8", "uint8", "bool"), 8),
    "int4": 4,
    "int2": 2,
    "complex128": 128,
}


def _graph(model: Any) -> Graph:
    subgraph = model.subgraphs[0]
    buffers = [None if buffer.data is None else np.asarray(buffer.data) for buffer in model.buffers]
    return Graph(
        tensors=[_tensor(tensor, buffers) for tensor in subgraph.tensors],
        operators=[_operator(operator, model.operatorCodes) for operator in subgraph.operators or []],
        inputs=_indices(subgraph.inputs),
        outputs=_indices(subgraph.outputs),
        metadata={_text(entry.name): _bytes(buffers[entry.buffer]) for entry in model.metadata or []},
        signatures=list(model.signatureDefs or []),
        description=_text(model.description),
        subgraphs=len(model.subgraphs),
    )


def _check_indices(graph: Graph) -> None:
    known = range(len(graph.tensors))
    ends = (*graph.inputs, *graph.outputs)
    for index in (*ends, *(index for operator in graph.operators for index in operator.activations + operator.outputs)):
        if index not in known:
            raise IndexError(f"tensor {index} of {len(known)}")
    for operator in graph.operators:
        graph.macs(operator)  # an operator without the inputs of its kind fails here


def _indices(vector: Any) -> list[int]:
    return [] if vector is None else [int(index) for index in vector]


def _tensor(tensor: Any, buffers: list[Array | None]) -> Tensor:
    dtype = _names("TensorType")[tensor.type].lower()
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    signature = None if tensor.shapeSignature is None else tuple(int(size) for size in tensor.shapeSignature)
    return Tensor(
        name=_text(tensor.name),
        shape=shape,
        dtype=dtype,
        data=_constant(buffers[tensor.buffer], dtype, shape),
        quantization=_quantization(tensor.quantization),
        shape_signature=signature,
        variable=bool(tensor.isVariable),
    )


def _constant(buffer: Array | None, dtype: str, shape: tuple[int, ...]) -> Array | None:
    if buffer is None or not len(buffer):
        return None
    if dtype not in np.sctypeDict:  # strings, int4 ...: kept as bytes
        return buffer
    return np.frombuffer(buffer.tobytes(), dtype).reshape(shape)


def _quantization(parameters: Any) -> Quantization | None:
    if parameters is None or parameters.scale is None or not len(parameters.scale):
        return None
    scale = np.asarray(parameters.scale, np.float32)
    zero_point = np.zeros(len(scale), np.int64)
    if parameters.zeroPoint is not None and len(parameters.zeroPoint):
        zero_point = np.asarray(parameters.zeroPoint, np.int64)
    return Quantization(scale, zero_point, int(parameters.quantizedDimension))


def _operator(operator: Any, codes: list[Any]) -> Operator:
    code = codes[operator.opcodeIndex]
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)  # old files fill only the deprecated byte
    return Operator(
        kind=_names("BuiltinOperator")[builtin],
        inputs=_indices(operator.inputs),
        outputs=_indices(operator.outputs),
        options=operator.builtinOptions,
        options_type=operator.builtinOptionsType,
        custom_code=_text(code.customCode) or None,
        custom_options=operator.customOptions,
        version=code.version,
    )


def _model(graph: Graph) -> Any:
    schema = _schema()
    model = schema.ModelT()
    model.version, model.description = 3, graph.description
    model.buffers = [schema.BufferT()]  # buffer 0 is empty by convention
    subgraph = schema.SubGraphT()
    subgraph.name = "main"
    subgraph.inputs, subgraph.outputs = graph.inputs, graph.outputs
    subgraph.tensors = [_pack_tensor(tensor, model.buffers) for tensor in graph.tensors]
    model.operatorCodes = []
    subgraph.operators = [_pack_operator(operator, model.operatorCodes) for operator in graph.operators]
    model.subgraphs = [subgraph]
    model.signatureDefs = graph.signatures
    model.metadata = [_pack_metadata(name, content, model.buffers) for name, content in graph.metadata.items()]
    return model


def _pack_tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    packed = _schema().TensorT()
    packed.name = tensor.name
    packed.shape = list(tensor.shape)
    packed.shapeSignature = list(tensor.shape_signature) if tensor.shape_signature else None
    packed.type, packed.isVariable = constant("TensorType", tensor.dtype.upper()), tensor.variable
    packed.buffer = 0 if tensor.data is None else _add_buffer(np.ascontiguousarray(tensor.data).tobytes(), buffers)
    if tensor.quantization is not None:
        packed.quantization = _schema().QuantizationParametersT()
        packed.quantization.scale = tensor.quantization.scale.astype(np.float32)
        packed.quantization.zeroPoint = tensor.quantization.zero_point.astype(np.int64)
        packed.quantization.quantizedDimension = tensor.quantization.axis
    return packed


class _AlignedBuffer:
    """Packs bytes at a multiple of 16 in the file, as the schema asks and its generated Python does not do."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def Pack(self, builder: Any) -> int:  # noqa: N802
        builder.StartVector(1, len(self.content), 16)
        builder.head -= len(self.content)
        builder.Bytes[builder.head : builder.head + len(self.content)] = self.content
        builder.vectorNumElems = len(self.content)
        content = builder.EndVector()
        _schema().BufferStart(builder)
        _schema().BufferAddData(builder, content)
        return int(_schema().BufferEnd(builder))


def _add_buffer(content: bytes, buffers: list[Any]) -> int:
    buffers.append(_AlignedBuffer(content))
    return len(buffers) - 1


def _pack_operator(operator: Operator, codes: list[Any]) -> Any:
    packed = _schema().OperatorT()
    packed.opcodeIndex = _code(operator, codes)
    packed.inputs, packed.outputs = operator.inputs, operator.outputs
    packed.builtinOptions, packed.builtinOptionsType = operator.options, operator.options_type
    packed.customOptions = operator.custom_options
    return packed


def _code(operator: Operator, codes: list[Any]) -> int:
    """The index of the operator's code, added to `codes` if it is new."""
    builtin = constant("BuiltinOperator", operator.kind)
    for index, code in enumerate(codes):
        if (code.builtinCode, code.version, code.customCode) == (builtin, operator.version, operator.custom_code):
            return index
    code = _schema().OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = builtin, min(builtin, 127)
    code.version, code.customCode = operator.version, operator.custom_code
    codes.append(code)
    return len(codes) - 1


def _pack_metadata(name: str, content: bytes, buffers: list[Any]) -> Any:
    entry = _schema().MetadataT()
    entry.name, entry.buffer = name, _add_buffer(content, buffers)
    return entry


def _text(value: bytes | str | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _bytes(value: Array | None) -> bytes:
    return b"" if value is None else value.tobytes()
