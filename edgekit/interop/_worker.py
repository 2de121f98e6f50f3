"""What runs inside onnx2tf's environment, as a script: converts one ONNX model, or answers with onnxruntime.

It has none of edgekit there. `python _worker.py JOB.json` writes `result.json` into the job's folder: what was made,
or {"error": ..., "nodes": [[type, name], ...]}. What the libraries print goes wherever the caller sends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

_TOOLS = ("onnx2tf", "onnxruntime", "tensorflow")
# Where onnx2tf would look for a download of its own; noise serves it as well, to try out orders of axes.
_TRIAL = "calibration_image_sample_data_20x128x128x3_float32.npy"
_CLOSE = 1e-4


class RefusedError(Exception):
    """A model that cannot be converted, with the nodes that are to blame."""

    def __init__(self, reason: str, nodes: list[tuple[str, str]] | None = None) -> None:
        super().__init__(reason)
        self.nodes = nodes or []


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    _die_with_parent(job["parent"])
    folder = Path(job["folder"])
    os.chdir(folder)
    try:
        result = _convert(job, folder) if job["action"] == "convert" else _answer(job, folder)
    except RefusedError as refusal:
        result = {"error": str(refusal), "nodes": refusal.nodes}
    (folder / "result.json").write_text(json.dumps(result), "utf-8")


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _convert(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The model as model.tflite, and as model.onnx what was made of it before that; samples answered, if there are."""
    import onnx

    model = _prepared(job)
    onnx.save(model, str(folder / "model.onnx"))
    np.save(folder / _TRIAL, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
    tflite = _to_tflite(model, job)
    (folder / "model.tflite").write_bytes(tflite)
    if job["samples"]:
        _answer({"model": str(folder / "model.onnx"), "samples": job["samples"]}, folder)
    return {
        "transposes": _transposes(tflite, model, job),
        "tools": {name: importlib.metadata.version(name) for name in _TOOLS},
    }


def _prepared(job: dict[str, Any]) -> Any:
    """The model with fixed sizes and without local functions, checked and simplified; every node has a name."""
    import onnx
    from onnx import inliner, shape_inference

    try:
        model = onnx.load(job["model"])
        onnx.checker.check_model(model)
        if model.functions:
            model = inliner.inline_local_functions(model)
        _fix_sizes(model, job["input"], job["shape"])
        model = shape_inference.infer_shapes(model)
    except Exception as error:  # protobuf's, the checker's and the inference's
        raise RefusedError(f"it is no valid ONNX model ({_short(error)})") from error
    _name_nodes(model)
    _refuse_unknown(model)
    simplified = _simplified(model)
    _name_nodes(simplified)
    return simplified


def _name_nodes(model: Any) -> None:
    """Every node gets a name of its own: it is named by it, and onnxruntime wants none twice."""
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{number}"
        taken.add(node.name)


def _fix_sizes(model: Any, name: str, shape: list[int]) -> None:
    value = next(value for value in model.graph.input if value.name == name)
    for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        dimension.Clear()
        dimension.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")


def _refuse_unknown(model: Any) -> None:
    import onnx2tf.ops

    known = {path.stem for path in Path(onnx2tf.ops.__path__[0]).glob("*.py")}
    strangers = [(node.op_type, node.name) for node in model.graph.node if node.op_type not in known]
    if strangers:
        raise RefusedError("it has operators that cannot be converted", strangers)


def _simplified(model: Any) -> Any:
    import onnxsim

    try:
        made, valid = onnxsim.simplify(model)
    except Exception:  # it is a help and no need
        return model
    return made if valid else model


def _to_tflite(model: Any, job: dict[str, Any]) -> bytes:
    import onnx2tf
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    keep = None if job["channels_first"] else [job["input"]]
    try:
        network = onnx2tf.convert(
            onnx_graph=model,
            output_folder_path="saved",
            keep_shape_absolutely_input_names=keep,
            not_use_onnxsim=True,
            not_use_opname_auto_generate=True,
            disable_model_save=True,
            disable_strict_mode=not job["careful"],
            verbosity="error",
        )
        wanted = [tf.TensorSpec(tensor.shape, tensor.dtype, name="image") for tensor in network.inputs]
        function = tf.function(lambda image: network(image, training=False), autograph=False)
        frozen = convert_variables_to_constants_v2(function.get_concrete_function(*wanted))
        # Given the network as well, the converter would save and load it again, for twelve times as long.
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    except SystemExit:
        raise RefusedError("onnx2tf cannot convert it") from None  # the log has the node
    except Exception as error:
        raise RefusedError(f"onnx2tf cannot convert it ({_short(error)})") from error
    return content


def _answer(job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What onnxruntime gives for each sample: outputs.npz with one array a sample and output."""
    import onnxruntime

    samples = np.load(job["samples"])
    try:
        session = onnxruntime.InferenceSession(job["model"], providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        answers = [session.run(None, {name: sample[None]}) for sample in samples]
    except Exception as error:
        raise RefusedError(f"onnxruntime cannot run it ({_short(error)})") from error
    arrays = {f"{row}-{column}": value for row, answer in enumerate(answers) for column, value in enumerate(answer)}
    np.savez(folder / "outputs.npz", **arrays)
    return {"tools": {"onnxruntime": importlib.metadata.version("onnxruntime")}}


def _transposes(tflite: bytes, model: Any, job: dict[str, Any]) -> dict[str, str]:
    """For each tensor that a TRANSPOSE moves the ONNX node that computes it, found by the values themselves."""
    import tensorflow as tf

    resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    runner = tf.lite.Interpreter(
        model_content=tflite, experimental_preserve_all_tensors=True, experimental_op_resolver_type=resolver
    )
    moves = [operator for operator in runner._get_ops_details() if operator["op_name"] == "TRANSPOSE"]
    if not moves:
        return {}
    sample = np.random.default_rng(0).random(job["shape"], np.float32)
    runner.allocate_tensors()
    given = sample.transpose(0, 2, 3, 1) if job["channels_first"] else sample
    runner.set_tensor(runner.get_input_details()[0]["index"], given)
    runner.invoke()
    indices = [int(operator["inputs"][0]) for operator in moves]
    tensors = {detail["index"]: detail["name"] for detail in runner.get_tensor_details()}
    values = [np.sort(runner.get_tensor(index), axis=None) for index in indices]
    nodes = _named(values, model, sample, job["input"])
    return {tensors[index]: node for index, node in zip(indices, nodes, strict=True)}


def _named(values: list[Any], model: Any, sample: Any, input_name: str) -> list[str]:
    import onnx
    import onnxruntime

    traced = onnx.ModelProto()
    traced.CopyFrom(model)
    names = {output: node.name for node in model.graph.node for output in node.output if output}
    known = {output.name for output in model.graph.output}
    traced.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = onnxruntime.InferenceSession(traced.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    found = ["?"] * len(values)
    for name, value in zip(outputs, session.run(None, {input_name: sample}), strict=True):
        flat = np.sort(value, axis=None)
        for place, wanted in enumerate(values):
            if flat.shape == wanted.shape and np.allclose(flat, wanted, _CLOSE, _CLOSE * (1 + np.abs(wanted).max())):
                found[place] = names[name]
    return found


def _short(error: Exception) -> str:
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())[:300] or type(error).__name__


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
