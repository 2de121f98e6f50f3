"""ONNX files made by hand from edgekit's own table of fields, and onnx2tf's environment where it has been set up."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.interop import environment, onnx_file

FLOAT, INT64 = 1, 7


@pytest.fixture(scope="session")
def onnx2tf() -> Path:
    """The environment's interpreter; the test is skipped with the reason where it has not been made."""
    if not environment.is_ready():
        reason = "onnx2tf's environment is not there: edgekit interop setup"
        (pytest.fail if os.environ.get("EDGEKIT_REQUIRE_TORCH") else pytest.skip)(reason)
    return environment.python(lambda *done: None)


@pytest.fixture(scope="session")
def torch() -> Any:
    if os.environ.get("EDGEKIT_REQUIRE_TORCH"):
        import torch

        return torch
    return pytest.importorskip("torch", reason="needs PyTorch: pip install 'edgekit[torch]'")


class Model:
    """An ONNX model under construction."""

    def __init__(self, shape: Sequence[int | str] = (1, 3, 32, 32), opset: int = 17, classes: int = 4) -> None:
        self.made = onnx_file.message()(ir_version=8, producer_name="test")
        self.made.opset_import.add(domain="", version=opset)
        self.graph = self.made.graph
        self.graph.name = "net"
        self.value(self.graph.input, "image", shape)
        self.value(self.graph.output, "output", (1, classes))

    @staticmethod
    def value(values: Any, name: str, shape: Sequence[int | str], kind: int = FLOAT) -> None:
        tensor_type = values.add(name=name).type.tensor_type
        tensor_type.elem_type = kind
        for size in shape:
            tensor_type.shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})

    def constant(self, name: str, values: Any) -> str:
        array = np.asarray(values)
        kind = INT64 if array.dtype.kind == "i" else FLOAT
        stored = array.astype(np.int64 if kind == INT64 else np.float32)
        self.graph.initializer.add(name=name, dims=array.shape, data_type=kind, raw_data=stored.tobytes())
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        node = self.graph.node.add(op_type=kind, input=inputs, output=[output], name=f"the_{kind}", domain=domain)
        for key, value in attributes.items():
            if isinstance(value, int):
                node.attribute.add(name=key, i=value, type=2)
            else:
                node.attribute.add(name=key, ints=value, type=7)
        return output

    def write(self, path: Path) -> Path:
        path.write_bytes(self.made.SerializeToString())
        return path


@pytest.fixture
def classifier() -> Callable[..., Model]:
    """`classifier(shape, opset, front)`: a convolution, ReLU, mean and matrix; `front` may put nodes before it."""

    def make(
        shape: Sequence[int | str] = (1, 3, 32, 32), opset: int = 17, front: Callable[[Model], str] | None = None
    ) -> Model:
        random = np.random.default_rng(0)
        net = Model(shape, opset)
        source = front(net) if front else "image"
        kernel = net.constant("kernel", random.normal(size=(8, 3, 3, 3)))
        net.node("Conv", [source, kernel], "map", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        net.node("Relu", ["map"], "positive")
        net.node("GlobalAveragePool", ["positive"], "mean")
        net.node("Flatten", ["mean"], "flat")
        net.node("Gemm", ["flat", net.constant("matrix", random.normal(size=(8, 4)))], "output")
        return net

    return make
