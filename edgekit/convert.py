"""keras.Model -> float .tflite; the only file that knows TensorFlow's converter."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgekit import quiet
from edgekit.errors import MissingError

if TYPE_CHECKING:
    import keras


def prepare_environment() -> None:
    """Makes Keras choose TensorFlow and keeps TensorFlow quiet; to be called before either is imported."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # nothing here needs a GPU, and looking for one takes a second


def to_float_tflite(model: keras.Model) -> bytes:
    """The model as a float32 .tflite with batch size 1.

    MissingError if TensorFlow is not installed.
    """
    prepare_environment()
    with quiet.native_stderr():
        try:
            with _late_interrupt():
                import tensorflow as tf
                from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
        except ModuleNotFoundError:
            raise MissingError("exporting needs TensorFlow; run: pip install 'edgekit[export]'") from None
        shape = (1, *model.inputs[0].shape[1:])
        function = tf.function(lambda image: model(image, training=False), autograph=False)
        concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))
        frozen = convert_variables_to_constants_v2(concrete)
        # an empty module, for the converter saves what it is given: the model would be traced again for that
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
        content: bytes = converter.convert()
    return content


def import_keras() -> None:
    """Imports Keras on TensorFlow without the lines that they write; MissingError if it is not installed."""
    prepare_environment()
    with quiet.native_stderr(), _late_interrupt():
        try:
            import keras  # noqa: F401
        except ModuleNotFoundError:
            raise MissingError("building a network needs Keras; run: pip install 'edgekit[export]'") from None


@contextlib.contextmanager
def _late_interrupt() -> Iterator[None]:
    """Holds Ctrl-C back until the end: TensorFlow catches everything in places, and would go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
