"""NNCF's post-training quantization with its default preset, on the OpenVINO model of the float .tflite."""

from __future__ import annotations

import os

os.environ.setdefault("NNCF_CI", "1")  # sends no usage statistics
import nncf  # type: ignore[import-not-found]
import openvino  # type: ignore[import-not-found]

from quantization.peers import job as jobs
from quantization.peers.job import Array


class _Compiled:
    """An OpenVINO model as a function from one image to the network's output."""

    def __init__(self, model: object) -> None:
        self._model = openvino.Core().compile_model(model, "CPU")

    def __call__(self, image: Array) -> Array:
        output: Array = self._model(image)[0]
        return output


def main() -> None:
    """Checks the OpenVINO form, quantizes it, and answers with OpenVINO from the files that were written."""
    job = jobs.read()
    model = openvino.Core().read_model(job.float_tflite)
    difference = job.check(_Compiled(model))
    samples = job.samples
    path = job.folder / "model.xml"
    with jobs.stopwatch() as spent:
        quantized = nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples), **job.settings)
        openvino.save_model(quantized, path)
    outputs = job.answers(_Compiled(path))
    files, packages = [path, path.with_suffix(".bin")], ("openvino", "nncf")
    jobs.finish(job, jobs.Report(files, spent, packages, outputs=outputs, float_difference=difference))


if __name__ == "__main__":
    main()
