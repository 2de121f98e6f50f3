"""What each TFLite operator asks of the scales and types of its tensors.

Source: the TensorFlow Lite 8-bit quantization specification and the kernels' registered versions.
"""

from __future__ import annotations

from typing import Literal

from edgekit.graph import Operator

Activation = Literal["int8", "int16"]

# Values pass through unchanged, so inputs and output must share one scale.
SAME_SCALE = frozenset(
    "AVERAGE_POOL_2D CONCATENATION DEPTH_TO_SPACE EXPAND_DIMS GATHER MAXIMUM MAX_POOL_2D MINIMUM MIRROR_PAD PACK PAD "
    "PADV2 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SPACE_TO_DEPTH SPLIT SQUEEZE STRIDED_SLICE TILE "
    "TRANSPOSE UNPACK".split()
)

# Values do not matter, so they need no conversion.
ANY_TYPE = frozenset(("RANK", "SHAPE"))

# The kernel rescales, so each tensor keeps the range that was observed.
RESCALING = frozenset(
    "ABS ADD CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED HARD_SWISH LEAKY_RELU MEAN MUL PRELU RELU RELU6 RSQRT "
    "SQUARED_DIFFERENCE SUB SUM TRANSPOSE_CONV".split()
)

# Of a constant only that part matters which lies within the range of the result.
CLAMPING = frozenset(("MAXIMUM", "MINIMUM"))

# The kernel stops the whole inference at an input below 0, so its scale must not reach there.
POSITIVE_INPUT = frozenset(("RSQRT",))

# The kernel insists on this output: (scale, zero point) for int8 and for int16.
FIXED_OUTPUT: dict[str, dict[Activation, tuple[float, int]]] = {
    "SOFTMAX": {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)},
    "LOGISTIC": {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)},
    "TANH": {"int8": (1 / 128, 0), "int16": (1 / 32768, 0)},
}

# RSQRT has one, but its table of 513 steps is too coarse near 0.
_NO_INT16 = frozenset("DEPTH_TO_SPACE HARD_SWISH MIRROR_PAD PRELU RSQRT SPACE_TO_DEPTH SQUARED_DIFFERENCE TILE".split())

# The version at which a kernel learned a type; operators that are absent always knew it.
_VERSIONS: dict[Activation, dict[str, int]] = {
    "int8": {
        **dict.fromkeys(
            "ABS ADD AVERAGE_POOL_2D CONCATENATION DEPTH_TO_SPACE DEQUANTIZE GATHER LOGISTIC MAXIMUM MAX_POOL_2D MEAN "
            "MINIMUM MIRROR_PAD PACK PAD PADV2 RELU RELU6 RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX "
            "SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TRANSPOSE UNPACK".split(),
            2,
        ),
        **dict.fromkeys("CONV_2D DEPTHWISE_CONV_2D MUL TILE TRANSPOSE_CONV".split(), 3),
        "FULLY_CONNECTED": 4,
    },
    "int16": {
        **dict.fromkeys("LEAKY_RELU QUANTIZE".split(), 2),
        **dict.fromkeys(
            "ABS ADD AVERAGE_POOL_2D CONCATENATION DEQUANTIZE LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM PACK PAD PADV2 "
            "RELU RELU6 SOFTMAX TANH TRANSPOSE_CONV".split(),
            3,
        ),
        **dict.fromkeys(
            "CONV_2D GATHER MUL RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SLICE SPLIT STRIDED_SLICE UNPACK".split(), 4
        ),
        **dict.fromkeys("DEPTHWISE_CONV_2D SUB TRANSPOSE".split(), 5),
        "FULLY_CONNECTED": 7,
    },
}
_GROUPED_CONV, _HYBRID_CONV, _HYBRID_DEPTHWISE, _HYBRID_DENSE, _DENSE_WITHOUT_BIAS = 6, 5, 6, 3, 6


def supports(operator: Operator, activation: Activation) -> bool:
    """Whether there is an integer kernel for this kind of operator."""
    if activation == "int16" and operator.kind in _NO_INT16:
        return False
    return operator.kind in SAME_SCALE or operator.kind in RESCALING or operator.kind in FIXED_OUTPUT


def conversion(kind: str, source: int, target: int, activation: Activation) -> Operator:
    """A QUANTIZE or DEQUANTIZE between `activation` and float, or between two scales."""
    return Operator(kind, [source], [target], version=_VERSIONS[activation].get(kind, 1))


def integer_version(operator: Operator, activation: Activation, grouped: bool) -> int:
    """The lowest operator version whose kernel takes `activation`; never below the operator's own."""
    version = max(operator.version, _VERSIONS[activation].get(operator.kind, 1))
    if operator.kind == "CONV_2D" and grouped:
        return max(version, _GROUPED_CONV)
    if operator.kind == "FULLY_CONNECTED" and len(operator.inputs) == 2:  # a third may say that there is none
        return max(version, _DENSE_WITHOUT_BIAS)
    return version


def hybrid_version(operator: Operator) -> int:
    """The operator version that takes int8 weights per channel and float activations."""
    versions = {
        "CONV_2D": _HYBRID_CONV,
        "DEPTHWISE_CONV_2D": _HYBRID_DEPTHWISE,
        "FULLY_CONNECTED": _HYBRID_DENSE,
    }
    return max(operator.version, versions[operator.kind])
