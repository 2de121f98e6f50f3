"""What an int8 convolution costs in XNNPACK's kernel for Arm cores with dot products: a model, to choose between forms.

The kernel (4x16c4, for the Cortex-A76 and most cores since) makes 4 pixels times 16 filters at once. It starts and ends
such a tile with 125 instructions, spends 20 on finding the pixels of each tap, and then goes through the tap's channels
by 16, by 8 and by 4: 79, 42 and 24 instructions for 64, 32 and 16 dot products. Counted in the code that LiteRT 2.3.0
runs. So few channels, few filters and many taps cost more than their arithmetic.
"""

from __future__ import annotations

_PIXELS, _FILTERS, _CHANNELS = 4, 16, 4  # what is rounded up to: of a tile the filters, of a tap the channels
_TILE, _TAP = 125, 20
_BY_16, _BY_8, _BY_4 = 79, 42, 24


def instructions(filters: int, taps: int, channels: int) -> float:
    """Instructions for one pixel of the output; `taps` are the kernel's height times its width."""
    tiles = -(-filters // _FILTERS)
    return tiles * (_TILE + taps * _tap(channels)) / _PIXELS


def _tap(channels: int) -> int:
    fours = -(-channels // _CHANNELS)
    return _TAP + fours // 4 * _BY_16 + fours % 4 // 2 * _BY_8 + fours % 2 * _BY_4
