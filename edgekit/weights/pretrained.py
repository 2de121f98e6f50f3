"""Which pretrained weights fit which model, and the labels they were trained on; one row each.

The rows' preprocessing is that of each network's training. All of these networks are fully convolutional, so a row
serves any input size; the one it states is the size of its training.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgekit.errors import FileFormatError
from edgekit.spec import InputSpec, resized, square
from edgekit.weights import deep_compression, ncnn, store, tflite
from edgekit.weights.content import file_bytes
from edgekit.weights.download import Progress
from edgekit.weights.record import Weights

LABELS = "synset_words.txt"


@dataclass(frozen=True)
class Pretrained:
    """Weights of one model: the store's files that hold them, weights first, and the input they want.

    With `background` the file's class 0 is no ImageNet class and `load` drops it. `labels` is the store's file with
    the 1000 classes in the order of the outputs.
    """

    model: str
    input: InputSpec
    assets: tuple[str, ...]
    background: bool = False
    labels: str = LABELS


def _mobilenet(model: str, size: int, file: str) -> Pretrained:
    spec = square(size, mean=(127.5,) * 3, std=(127.5,) * 3)
    return Pretrained(model, spec, (f"tflite/{file}",), background=True)


ROWS = (
    Pretrained("squeezenet_v1_0", deep_compression.INPUT, ("weights/compressed_SqueezeNet.net",)),
    Pretrained(
        "squeezenet_v1_1",
        # ImageNet's mean and deviation as torchvision has them, on 0..1, times 255
        square(224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
        ("weights/squeezenet_v1.1.ncnn.bin", "weights/squeezenet_v1.1.ncnn.param"),
    ),
    _mobilenet("mobilenet_v1_025", 128, "mobilenet_v1_0.25_128_quant.tflite"),
    _mobilenet("mobilenet_v1_050", 160, "mobilenet_v1_0.5_160_quant.tflite"),
    _mobilenet("mobilenet_v1_075", 192, "mobilenet_v1_0.75_192_quant.tflite"),
    _mobilenet("mobilenet_v2", 224, "mobilenet_v2_1.0_224_quant.tflite"),
)
READERS = {".net": deep_compression.read, ".bin": ncnn.read, ".tflite": tflite.read}


def pretrained(model_name: str, input_size: int | None = None) -> Pretrained | None:
    """The weights the store has for this model, at `input_size` pixels or else at its own; None if it has none."""
    row = next((row for row in ROWS if row.model == model_name), None)
    if row is None or input_size is None or input_size == row.input.height:
        return row
    return dataclasses.replace(row, input=resized(row.input, input_size))


def load(pretrained: Pretrained, progress: Progress | None = None) -> Weights:
    """The weights of a row with its InputSpec, 1000 classes, and their public address as source.

    `progress` receives bytes done and bytes in all of each download. Errors as `store.asset` and the readers.
    """
    paths = [store.asset(name, progress) for name in pretrained.assets]
    weights = READERS[paths[0].suffix](paths[0])
    if pretrained.background:
        weights = tflite.drop_background(weights)
    origin = store.find(pretrained.assets[0])
    return dataclasses.replace(weights, source=origin.source, sha256=origin.sha256, input=pretrained.input)


def imagenet_labels(progress: Progress | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The wnids of ImageNet's 1000 classes in the order of the networks' outputs, and their names."""
    path = store.asset(LABELS, progress)
    lines = file_bytes(path, "a list of labels").decode().splitlines()
    ids, _, labels = zip(*(line.partition(" ") for line in lines), strict=True)
    if len(ids) != 1000:
        raise FileFormatError(f"{path} has {len(ids)} labels; 1000 were expected")
    return ids, labels
