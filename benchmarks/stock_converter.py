"""The yardstick: a network to int8 with TensorFlow's own converter, as its documentation shows it.

Usage: python benchmarks/stock_converter.py IMAGES OUTPUT.tflite [MODEL]
Network, weights, preprocessing and the card that lets `edgekit eval` judge the file are edgekit's; everything between
the Keras model and the .tflite is TensorFlow's.
"""

import sys
from pathlib import Path

from edgekit import artifact, convert, images, models, recipe, weights

convert.prepare_environment()
import tensorflow as tf  # noqa: E402

folder, output = Path(sys.argv[1]), Path(sys.argv[2])
name = sys.argv[3] if len(sys.argv) > 3 else "squeezenet_v1_1"
known = weights.pretrained(name)
assert known is not None, f"no pretrained weights are known for {name}"
spec = models.find(name, input_size=known.input.height)
trained = weights.load(known)
model = models.build(spec)
weights.assign(model, trained)
contents = [path.read_bytes() for path in images.evenly_spaced(images.list_images(folder), 100)]
samples = [images.normalise(images.crop(content, known.input), known.input) for content in contents]

converter = tf.lite.TFLiteConverter.from_keras_model(model)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([sample] for sample in samples)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
converted = converter.convert()

ids, labels = weights.imagenet_labels()
card = artifact.Card(
    model=spec.name,
    family=spec.family,
    classes=spec.classes,
    input=known.input,
    recipe=recipe.find("int8"),
    weights=artifact.WeightsOrigin(trained.source, trained.sha256),
    calibration=artifact.Calibration(tuple(map(images.content_id, contents)), folder.name),
    tools={"tensorflow": tf.__version__},
)
artifact.write(output, converted, card, labels, ids, None)
