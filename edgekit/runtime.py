"""A .tflite model that runs: the only file that imports a TFLite runtime. It takes no time.

LiteRT is used where it is installed, tflite-runtime (32-bit boards) otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit import quiet
from edgekit.errors import FileFormatError, MissingError, UnsupportedModelError
from edgekit.measurement import Delegation

Array = NDArray[Any]
_PACKAGES = (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tflite_runtime.interpreter", "tflite-runtime"))


@dataclass(frozen=True)
class TensorInfo:
    """An input or output; `scale` is 0 where the tensor is not quantized per tensor."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    def quantize(self, values: Array) -> Array:
        """Real values in the tensor's own type."""
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        steps = np.rint(values / np.float32(self.scale or 1.0)) + self.zero_point
        clipped: Array = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return clipped

    def dequantize(self, values: Array) -> Array:
        """Real values, float32, of what the tensor holds."""
        if self.dtype.kind == "f" or not self.scale:
            return values.astype(np.float32)
        real: Array = (values.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return real


class Runner:
    """One model loaded into the runtime, with its tensors allocated.

    `delegate=False` turns XNNPACK off; `keep_tensors=True` makes every tensor readable after a run.
    Not thread-safe; different Runners run in parallel, for the runtime releases Python's lock.
    """

    def __init__(self, model: bytes, threads: int = 1, *, delegate: bool = True, keep_tensors: bool = False) -> None:
        module = _module()
        options: dict[str, Any] = {"model_content": model, "num_threads": threads}
        if not delegate:
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if keep_tensors:
            options["experimental_preserve_all_tensors"] = True
            warnings.filterwarnings("ignore", "Warning: Enabling `experimental_preserve_all_tensors`")
        with quiet.native_stderr() as messages:
            try:
                self._interpreter = module.Interpreter(**options)
                self._interpreter.allocate_tensors()
                self.inputs = tuple(_info(detail) for detail in self._interpreter.get_input_details())
                self.outputs = tuple(_info(detail) for detail in self._interpreter.get_output_details())
            except (ValueError, RuntimeError) as error:  # names that are no text are a ValueError too
                raise _refusal(_one_line(error, messages())) from None

    @property
    def input(self) -> TensorInfo:
        """The first input."""
        return self.inputs[0]

    @property
    def output(self) -> TensorInfo:
        """The first output."""
        return self.outputs[0]

    def set_input(self, values: Array, position: int = 0) -> None:
        """Copies `values`, in the tensor's own type, into an input."""
        info = self.inputs[position]
        self._interpreter.set_tensor(info.index, values.reshape(info.shape))

    def invoke(self) -> None:
        """One inference on what the inputs hold."""
        self._interpreter.invoke()

    def get_output(self, position: int = 0) -> Array:
        """A copy of an output, in the tensor's own type."""
        values: Array = self._interpreter.get_tensor(self.outputs[position].index)
        return values

    def tensor(self, index: int) -> Array:
        """A copy of any tensor by its index in the file; needs `keep_tensors`."""
        values: Array = self._interpreter.get_tensor(index)
        return values

    def run(self, values: Array) -> Array:
        """The output for one input, both in the tensors' own types."""
        self.set_input(values)
        self.invoke()
        return self.get_output()

    def resting_inputs(self, seed: int = 0) -> None:
        """Fills every input with `noise`."""
        for position, values in enumerate(self.noise(seed)):
            self.set_input(values, position)

    def noise(self, seed: int = 0) -> list[Array]:
        """Seeded noise for every input, over its type's range (floats: 0 to 1)."""
        generator = np.random.default_rng(seed)
        made: list[Array] = []
        for info in self.inputs:
            if info.dtype.kind in "iu":
                limits = np.iinfo(info.dtype)
                made.append(generator.integers(limits.min, limits.max, info.shape, dtype=info.dtype, endpoint=True))
            else:
                made.append(generator.random(info.shape, dtype=np.float32).astype(info.dtype))
        return made

    def delegated(self) -> frozenset[int]:
        """The positions in the file of the operators that the default delegate runs."""
        nodes = self._nodes()
        plain = [node for node in nodes if node["op_name"] != "DELEGATE"]
        taken: set[int] = set()
        for node in nodes[len(plain) :]:
            taken |= _covered(plain, set(map(int, node["inputs"])), list(map(int, node["outputs"])))
        return frozenset(taken)

    def delegation(self) -> Delegation:
        """What the default delegate took and left."""
        taken = self.delegated()
        plain = [node for node in self._nodes() if node["op_name"] != "DELEGATE"]
        left = tuple(node["op_name"] for node in plain if node["index"] not in taken)
        return Delegation("XNNPACK" if taken else "none", operators=len(plain), taken=len(taken), left=left)

    def _nodes(self) -> list[dict[str, Any]]:
        """The file's operators, then one DELEGATE for every group that a delegate runs."""
        try:
            nodes: list[dict[str, Any]] = self._interpreter._get_ops_details()
        except ValueError as error:
            raise _refusal(f"a name in it is no text: {error}") from None
        return nodes


@functools.cache
def version() -> tuple[str, str]:
    """The runtime's package name and version; MissingError if none is installed."""
    _module()
    for module, package in _PACKAGES:
        if module.split(".", maxsplit=1)[0] in sys.modules:
            return package, _version(module.split(".", maxsplit=1)[0], package)
    raise MissingError("no TFLite runtime is loaded")


def _version(module: str, package: str) -> str:
    told: str | None = getattr(sys.modules[module], "__version__", None)
    if told is not None:
        return told
    import importlib.metadata  # a second on a slow board

    return importlib.metadata.version(package)


@functools.cache
def _module() -> Any:
    for module, _package in _PACKAGES:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(module)
    raise MissingError("no TFLite runtime is installed; run: pip install ai-edge-litert (32-bit Arm: tflite-runtime)")


def _refusal(reason: str) -> FileFormatError:
    if "not a valid Flatbuffer" in reason:
        return FileFormatError(f"a damaged or truncated .tflite file ({reason})")
    return UnsupportedModelError(f"the runtime cannot run this model: {reason}")


def _info(detail: dict[str, Any]) -> TensorInfo:
    scale, zero_point = detail["quantization"]
    shape = tuple(int(size) for size in detail["shape"])
    return TensorInfo(detail["index"], detail["name"], shape, np.dtype(detail["dtype"]), float(scale), int(zero_point))


def _covered(nodes: list[dict[str, Any]], inputs: set[int], outputs: list[int]) -> set[int]:
    """The nodes between a delegate node's outputs and its inputs."""
    producer = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    found: set[int] = set()
    pending = outputs
    while pending:
        node = producer.get(pending.pop())
        if node is not None and node["index"] not in found:
            found.add(node["index"])
            pending += [int(tensor) for tensor in node["inputs"] if int(tensor) not in inputs]
    return found


def _one_line(error: Exception, messages: str) -> str:
    lines = [line for line in [*messages.splitlines(), *str(error).splitlines()] if line and "INFO" not in line]
    return " / ".join(dict.fromkeys(line.strip() for line in lines)).replace("Node number", " / Node number")
