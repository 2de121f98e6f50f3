"""The yardstick: SqueezeNet v1.1 to int8 with TensorFlow's own converter, as its documentation shows it.

Usage: python benchmarks/stock_converter.py IMAGES OUTPUT.tflite
Network, weights and preprocessing are edgekit's; everything after the Keras model is TensorFlow's.
"""

import sys
from pathlib import Path

from edgekit import convert, images, models, weights

convert.prepare_environment()
import tensorflow as tf  # noqa: E402

folder, output = Path(sys.argv[1]), Path(sys.argv[2])
known = weights.pretrained("squeezenet_v1_1")
assert known is not None
model = models.build(models.find("squeezenet_v1_1"))
weights.assign(model, weights.load(known))
paths = images.evenly_spaced(images.list_images(folder), 100)
samples = [images.normalise(images.crop(path.read_bytes(), known.input), known.input) for path in paths]

converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([sample] for sample in samples)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
output.write_bytes(converter.convert())
