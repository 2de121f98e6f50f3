"""From a float network and 100 decoded images in memory to int8: TensorFlow's converter and edgekit, in turns.

Usage: python benchmarks/quantizing.py [ROUNDS]
Prints one JSON object: seconds of every round, by what was done. TensorFlow's converter starts from the Keras model
(it cannot start from a .tflite); what it needs for the float form alone is there too.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgekit import convert, export, models, quantize, recipe, weights
from edgekit.graph import Array

convert.prepare_environment()
import tensorflow as tf  # noqa: E402

NETWORK = "squeezenet_v1_1"
RECIPES = ("int8_fast", "int8")


def main() -> None:
    """Times all of them, round by round."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    trained = export.prepare(export.find_model(NETWORK))
    samples = export.load_samples(weights.image_folder(), trained.input).inputs
    keras_model = _keras_model()
    work: dict[str, Callable[[], object]] = {
        "TensorFlow's converter": lambda: _converter(keras_model, samples, integer=True).convert(),
        "TensorFlow's converter, float": lambda: _converter(keras_model, samples, integer=False).convert(),
    }
    for name in RECIPES:
        chosen = functools.partial(quantize.quantize, trained.tflite, recipe.find(name), samples, spec=trained.input)
        work[f"edgekit {name}"] = chosen
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, do in work.items():
            started = time.perf_counter()
            do()
            seconds[name].append(time.perf_counter() - started)
    print(json.dumps(seconds))


def _keras_model() -> Any:
    known = weights.pretrained(NETWORK)
    assert known is not None
    model = models.build(models.find(NETWORK, input_size=known.input.height))
    weights.assign(model, weights.load(known))
    return model


def _converter(model: Any, samples: Sequence[Array], integer: bool) -> Any:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if integer:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter


if __name__ == "__main__":
    main()
