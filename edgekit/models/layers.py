"""The layers of the papers in Keras 3 (NHWC, functional); the one file of this room that imports Keras.

Knows no architecture. Keras is imported when a layer is made, so that listing the networks needs none of it.
Arithmetic follows Caffe, in which most of these networks were published: convolutions pad by a number of pixels
on every side and round down, pooling rounds up.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from contextlib import AbstractContextManager
from types import ModuleType
from typing import TYPE_CHECKING

from edgekit.errors import MissingError
from edgekit.spec import ModelSpec

if TYPE_CHECKING:
    from keras import KerasTensor as Tensor
    from keras import Layer, Model

# Where weights start. He's keeps the variance of activations through ReLUs. Caffe's "xavier", which the authors' files
# name, halves it at every layer: an untrained SqueezeNet would answer the same to every image. Around a shortcut that
# halving is right, and He's would double the variance at every sum.
HE, XAVIER = "he_normal", "lecun_uniform"
CAFFE_BATCH_NORM_EPSILON = 1e-5  # and PyTorch's
# Layers that Keras Applications leaves without a name of their own, as Keras then names them.
_COUNTED = re.compile(r"(activation|dropout|flatten|global_average_pooling2d|re_lu)(?:_(\d+))?")


def _keras() -> ModuleType:
    try:
        import keras
    except ModuleNotFoundError:
        raise MissingError("building a network needs Keras; run: pip install 'edgekit[export]'") from None
    return keras  # type: ignore[no-any-return]


def image(size: int) -> Tensor:
    """The input "image": (batch, size, size, 3), float32, already normalised."""
    return _keras().Input((size, size, 3), name="image", dtype="float32")


def network(spec: ModelSpec, inputs: Tensor, outputs: Tensor) -> Model:
    """The functional model from `inputs` to `outputs`, under the spec's name."""
    return _keras().Model(inputs, outputs, name=spec.name)


def without_weights() -> AbstractContextManager[object]:
    """Networks made inside have shapes but no numbers: quick, whatever their size, and good for counting only."""
    scope: AbstractContextManager[object] = _keras().StatelessScope(initialize_variables=False)
    return scope


def application(spec: ModelSpec, builder: str, **arguments: bool | float) -> Model:
    """`keras.applications.<builder>` untrained, with this room's input name and a softmax over the spec's classes."""
    keras = _keras()
    inputs = image(spec.input_size)
    wrapped = getattr(keras.applications, builder)(
        weights=None, input_tensor=inputs, classes=spec.classes, classifier_activation="softmax", **arguments
    )
    model = network(spec, inputs, wrapped.output)
    _count_anew(model)
    _start_weights(model)
    return model


def as_pytorch(model: Model, epsilon: float) -> Model:
    """A network of Keras Applications in PyTorch's arithmetic: equal padding on all sides, `epsilon` in every norm.

    Keras pads a convolution of stride 2 by one pixel less at the top and on the left, so that the same weights give
    other answers. Even sizes of the map give the same shapes either way.
    """
    keras = _keras()

    def cloned(layer: Layer) -> Layer:
        config = layer.get_config()
        kind = type(layer).__name__
        if kind == "ZeroPadding2D":
            config["padding"] = tuple((max(sides), max(sides)) for sides in layer.padding)
        elif kind == "BatchNormalization":
            config["epsilon"] = epsilon
        elif _hangs_over(layer):
            config["padding"] = "valid"
        return type(layer).from_config(config)

    def called(layer: Layer, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        if layer.name in strided:
            x = keras.layers.ZeroPadding2D(layer.kernel_size[0] // 2, name=f"{layer.name}_pad")(x)
        return layer(x, *args, **kwargs)

    strided = {layer.name for layer in model.layers if _hangs_over(layer)}
    made = keras.models.clone_model(model, clone_function=cloned, call_function=called)
    _start_weights(made)  # a clone has those of its initializers
    return made


def _hangs_over(layer: Layer) -> bool:
    """Whether it is a convolution that pads itself, and unevenly."""
    return type(layer).__name__ == "Conv2D" and layer.padding == "same" and layer.strides != (1, 1)


def _count_anew(model: Model) -> None:
    """Numbers the layers without names from 0: Keras counts all that a process has made, and tensors are named so."""
    counted = defaultdict(list)
    for layer in model.layers:
        if match := _COUNTED.fullmatch(layer.name):
            counted[match[1]].append((int(match[2] or 0), layer))
    for kind, layers in counted.items():
        for place, (_number, layer) in enumerate(sorted(layers, key=lambda pair: pair[0])):
            layer.name = f"{kind}_{place}" if place else kind


def _start_weights(model: Model) -> None:
    """HE for every kernel, by the values that one output sees; XAVIER for the "project" ones, which no ReLU follows.

    Keras Applications' own start counts all channels as inputs of a depthwise kernel: activations fade to nothing, and
    an untrained MobileNet answers the same to every image.
    """
    keras = _keras()
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        inputs = math.prod(kernel.shape[:2] if depthwise else kernel.shape[:-1])
        gain = 1.0 if "project" in layer.name else 2.0
        kernel.assign(keras.random.normal(kernel.shape, stddev=math.sqrt(gain / inputs)))


def conv(
    x: Tensor,
    filters: int,
    kernel: int | tuple[int, int],
    *,
    name: str,
    strides: int = 1,
    pad: int | tuple[int, int] = 0,
    groups: int = 1,
    bias: bool = True,
    relu: bool = True,
    initializer: str = HE,
) -> Tensor:
    """Convolution with `pad` zeros on either side (height, width), then ReLU: (b, h, w, c) -> (b, h', w', filters)."""
    layers = _keras().layers
    kernel, pad = _pair(kernel), _pair(pad)
    keeps_size = strides == 1 and kernel == (2 * pad[0] + 1, 2 * pad[1] + 1)
    if pad != (0, 0) and not keeps_size:
        x = layers.ZeroPadding2D(pad, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        # "same" pads these convolutions as Caffe does, and spares the converted model an operator.
        padding="same" if keeps_size else "valid",
        groups=groups,
        use_bias=bias,
        activation="relu" if relu else None,
        kernel_initializer=initializer,
        name=name,
    )(x)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def batch_norm(x: Tensor, *, name: str) -> Tensor:
    """Caffe's BatchNorm and Scale in one: normalises, then scales and shifts each channel."""
    return _keras().layers.BatchNormalization(epsilon=CAFFE_BATCH_NORM_EPSILON, name=name)(x)


def relu(x: Tensor, *, name: str) -> Tensor:
    """max(x, 0)."""
    return _keras().layers.ReLU(name=name)(x)


def max_pool(x: Tensor, *, name: str, window: int = 3, strides: int = 2, round_up: bool = True) -> Tensor:
    """Caffe's max pooling, whose output size is rounded up: the last window may hang over the edge.

    A map smaller than the window, which no network meets at its paper's size, becomes one pixel. Without `round_up`
    it is PyTorch's own, which leaves the last pixels out.
    """
    small = int(x.shape[1]) < window
    padding = pool_padding(int(x.shape[1]), window, strides) if round_up or small else "valid"
    return _keras().layers.MaxPooling2D(window, strides, padding, name=name)(x)


def pool_padding(size: int, window: int, strides: int) -> str:
    """The Keras padding that gives Caffe's rounded-up pooling windows on a map of `size` x `size`.

    "valid" where the windows fit exactly. Elsewhere they hang over by one pixel at the bottom and on the right, and so
    do those of "same", which ignores what it pads: one MAX_POOL_2D, with no PAD before it.
    """
    if size >= window and (size - window) % strides == 0:
        return "valid"
    overhang = (-(-size // strides) - 1) * strides + window - size
    assert size < window or overhang == 1, "only windows at most one pixel larger than their stride are used here"
    return "same"


def max_pool_same(x: Tensor, *, name: str) -> Tensor:
    """A 3x3 window at every pixel, as inside GoogLeNet's inception modules: the map keeps its size."""
    return _keras().layers.MaxPooling2D(3, 1, "same", name=name)(x)


def global_average(x: Tensor, *, name: str) -> Tensor:
    """(b, h, w, c) -> (b, c)."""
    return _keras().layers.GlobalAveragePooling2D(name=name)(x)


def global_max(x: Tensor, *, name: str) -> Tensor:
    """(b, h, w, c) -> (b, c); as a pool over the whole map, for which there are quick integer kernels."""
    layers = _keras().layers
    pooled = layers.MaxPooling2D(tuple(x.shape[1:3]), name=name)(x)
    return layers.Flatten(name=f"{name}_flat")(pooled)


def concat(parts: list[Tensor], *, name: str) -> Tensor:
    """Maps of equal size side by side, along the channels."""
    return _keras().layers.Concatenate(name=name)(parts)


def add(parts: list[Tensor], *, name: str) -> Tensor:
    """The element-wise sum of maps of equal shape."""
    return _keras().layers.Add(name=name)(parts)


def flatten(x: Tensor, *, name: str) -> Tensor:
    """(b, h, w, c) -> (b, h * w * c), channels fastest."""
    return _keras().layers.Flatten(name=name)(x)


def dense(x: Tensor, units: int, *, name: str, bias: bool = True, relu: bool = False) -> Tensor:
    """(b, c) -> (b, units)."""
    layer = _keras().layers.Dense(
        units, activation="relu" if relu else None, use_bias=bias, kernel_initializer=HE, name=name
    )
    return layer(x)


def dropout(x: Tensor, rate: float, *, name: str) -> Tensor:
    """Drops `rate` of the values in training; nothing in inference."""
    return _keras().layers.Dropout(rate, name=name)(x)


def softmax(x: Tensor, *, name: str = "prob") -> Tensor:
    """Class probabilities: (b, classes)."""
    return _keras().layers.Softmax(name=name)(x)


def local_response_norm(x: Tensor) -> Tensor:
    """``x / (1 + alpha * mean of x^2 over 5 neighbouring channels) ^ 0.75`` with alpha 1e-4, as in Caffe's LRN.

    The mean is an average pool along the channels, over zeros beyond the first and the last one. The power is made of
    reciprocal square roots, s^-0.75 = rsqrt(s) * rsqrt(s * rsqrt(s)), which every backend and TFLite have, int8 too.
    """
    ops = _keras().ops
    height, width, channels = x.shape[1:]
    squares = ops.reshape(ops.square(x), (-1, height * width, channels, 1))
    squares = ops.pad(squares, [[0, 0], [0, 0], [2, 2], [0, 0]])
    mean = ops.average_pool(squares, (1, 5), (1, 1), padding="valid", data_format="channels_last")
    scale = 1.0 + 1e-4 * ops.reshape(mean, (-1, height, width, channels))
    root = ops.rsqrt(scale)
    return x * root * ops.rsqrt(scale * root)
