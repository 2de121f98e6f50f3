"""ai-edge-quantizer's recipe static_wi8_ai8 on the float .tflite.

Settings: `algorithm` is the recipe's argument; `ranges` names a function of its module qsv_utils that takes the place
of the moving average by which it joins the ranges of the samples, with `only` = "logits" for what the softmax reads
alone.
"""

from __future__ import annotations

from ai_edge_quantizer import (  # type: ignore[import-not-found]
    algorithm_manager,
    calibrator,
    quantizer,
    recipe,
    recipe_manager,
)
from ai_edge_quantizer.utils import qsv_utils  # type: ignore[import-not-found]

from edgekit import graph
from quantization.peers import job as jobs
from quantization.peers.job import Array, Job

Data = dict[str, list[dict[str, Array]]]


def main() -> None:
    """Calibrates and quantizes."""
    job = jobs.read()
    model = job.float_tflite.read_bytes()
    path = job.folder / "model.tflite"
    data = _named_samples(job)
    with jobs.stopwatch() as spent:
        path.write_bytes(_quantized(job, model, data))
    jobs.finish(job, jobs.Report([path], spent, ("ai-edge-quantizer", "ai-edge-litert")))


def _named_samples(job: Job) -> Data:
    """The calibration images under the names of the model's signature and its input."""
    runner = calibrator.CalibrationInterpreter(str(job.float_tflite))
    (signature,) = runner.get_signature_list()
    (name,) = runner.get_signature_runner(signature).get_input_details()
    return {signature: [{name: sample} for sample in job.samples]}


def _quantized(job: Job, model: bytes, data: Data) -> bytes:
    algorithm = algorithm_manager.AlgorithmName[job.settings["algorithm"]]
    chosen = recipe.static_wi8_ai8(algorithm)
    tool = quantizer.Quantizer(model, chosen)
    averaged = {} if _own_ranges_everywhere(job) else tool.calibrate(data)
    if "ranges" not in job.settings:
        return bytes(tool.quantize(averaged).quantized_model)
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(chosen)
    own = calibrator.Calibrator(model, qsv_update_func=getattr(qsv_utils, job.settings["ranges"]))
    own.calibrate(data, manager)
    ranges = own.get_model_qsvs()
    if "only" in job.settings:
        ranges = averaged | {name: ranges[name] for name in _logits(model)}
    return bytes(tool.quantize(ranges).quantized_model)


def _own_ranges_everywhere(job: Job) -> bool:
    return "ranges" in job.settings and "only" not in job.settings


def _logits(model: bytes) -> list[str]:
    """The names of the tensors that hold the logits: the softmax's input, and what it is a new shape of."""
    network = graph.load(model)
    (softmax,) = (operator for operator in network.operators if operator.kind == "SOFTMAX")
    names, reader = [], softmax
    while reader is softmax or reader.kind == "RESHAPE":
        names.append(network.tensors[reader.inputs[0]].name)
        producer = network.producer(reader.inputs[0])
        if producer is None:
            break
        reader = producer
    return names


if __name__ == "__main__":
    main()
