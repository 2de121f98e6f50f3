"""onnxruntime's static quantization to QDQ, on an ONNX form of the float .tflite.

Settings are the arguments of quantize_static; types by their names in QuantType. With `emulated` the same file is
answered without graph optimizations: every node in float between its rounding steps, where no sum can saturate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgekit import graph
from edgekit.interop import onnx_out
from quantization.peers import job as jobs
from quantization.peers.job import Array


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Hands out the calibration images one by one."""

    def __init__(self, samples: list[Array]) -> None:
        self._feeds: Iterator[dict[str, Array]] = iter([{onnx_out.INPUT: sample} for sample in samples])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def main() -> None:
    """Checks the ONNX form, prepares and quantizes it, and answers with onnxruntime."""
    job = jobs.read()
    plain, prepared, path = (job.folder / name for name in ("float.onnx", "prepared.onnx", "model.onnx"))
    plain.write_bytes(onnx_out.to_onnx(graph.load(job.float_tflite.read_bytes()), {}))
    difference = job.check(_Session(plain))
    samples = [onnx_out.channels_first(sample) for sample in job.samples]
    with jobs.stopwatch() as spent:
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)  # every shape is known
        quantization.quantize_static(prepared, path, _Reader(samples), **_arguments(job.settings))
    outputs = job.answers(_Session(path, optimized=not job.settings.get("emulated")))
    packages = ("onnxruntime", "onnx")
    jobs.finish(job, jobs.Report([path], spent, packages, outputs=outputs, float_difference=difference))


class _Session:
    """An ONNX file as a function from one channels-last image to the network's output."""

    def __init__(self, path: Path, *, optimized: bool = True) -> None:
        options, levels = onnxruntime.SessionOptions(), onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, image: Array) -> Array:
        output: Array = self._session.run(None, {onnx_out.INPUT: onnx_out.channels_first(image)})[0]
        return output


def _arguments(settings: dict[str, Any]) -> dict[str, Any]:
    types = ("activation_type", "weight_type")
    given = {name: value for name, value in settings.items() if name != "emulated"}
    return {name: quantization.QuantType[value] if name in types else value for name, value in given.items()}


if __name__ == "__main__":
    main()
