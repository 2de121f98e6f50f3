"""TensorFlow's TFLiteConverter as its documentation shows full-integer quantization, from the Keras model."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras
import tensorflow as tf

from quantization.peers import job as jobs


def main() -> None:
    """Quantizes, and times a conversion to float alone: this converter cannot start from the float .tflite."""
    job = jobs.read()
    model = keras.saving.load_model(job.keras, compile=False)
    logits = bool(job.settings.get("logits"))
    model = _without_softmax(model) if logits else model
    samples = job.samples
    path = job.folder / "model.tflite"
    with jobs.stopwatch() as spent:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        path.write_bytes(converter.convert())
    with jobs.stopwatch() as plain:
        tf.lite.TFLiteConverter.from_keras_model(model).convert()
    extra = {"float_conversion_seconds": plain.seconds, "float_conversion_cpu_seconds": plain.cpu_seconds}
    kind = "logits" if logits else "probabilities"
    jobs.finish(job, jobs.Report([path], spent, ("tensorflow", "keras"), kind, extra=extra))


def _without_softmax(model: keras.Model) -> keras.Model:
    """The network up to what its last layer takes the softmax of."""
    last = model.layers[-1]
    if getattr(last, "kernel", None) is None:  # a softmax of its own
        return keras.Model(model.inputs, last.input)
    last.activation = keras.activations.linear
    return keras.Model(model.inputs, last(last.input))


if __name__ == "__main__":
    main()
