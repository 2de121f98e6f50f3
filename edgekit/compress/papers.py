"""The tables of the SqueezeNet paper (Iandola et al. 2016, arXiv:1602.07360), with what is computed here beside them.

Table 1 counts parameters before and after pruning; Table 2 compares compression methods on AlexNet and SqueezeNet.
Accuracies are the published ones. Sizes of ours are computed exactly: from the authors' own file where it is at hand,
and for AlexNet from its layers' shapes, with the ranks and densities that each row says.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

MB = 1_000_000
# parameters before and after pruning, as published
_TABLE_1 = {
    "conv1": (14_208, 14_208),
    "fire2": (11_920, 5_746),
    "fire3": (12_432, 6_258),
    "fire4": (45_344, 20_646),
    "fire5": (49_440, 24_742),
    "fire6": (104_880, 44_700),
    "fire7": (111_024, 46_236),
    "fire8": (188_992, 77_581),
    "fire9": (197_184, 77_581),
    "conv10": (513_000, 103_400),
}
# AlexNet with its groups: (out, in per group, kernel height, kernel width)
ALEXNET = (
    (96, 3, 11, 11),
    (256, 48, 5, 5),
    (384, 256, 3, 3),
    (384, 192, 3, 3),
    (256, 192, 3, 3),
    (4096, 9216, 1, 1),
    (4096, 4096, 1, 1),
    (1000, 4096, 1, 1),
)


class PaperTable(msgspec.Struct, frozen=True):
    """One table, ready to be shown; every row has as many cells as there are columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(net: Path | None = None) -> list[PaperTable]:
    """Both tables; `net` is the authors' compressed_SqueezeNet.net, without which its cells stay empty."""
    from edgekit.weights import deep_compression

    found = deep_compression.entries(net) if net else None
    return [_pruned(found), _compared(net)]


def _pruned(found: dict[str, tuple[int, int, int]] | None) -> PaperTable:
    """`found` gives by layer its weights, those that are not 0, and its biases."""
    rows = []
    totals = [0, 0, 0, 0]
    for name, (before, after) in _TABLE_1.items():
        parts = [each for layer, each in (found or {}).items() if layer.split("_")[0] == name]
        ours = [sum(part[0] + part[2] for part in parts), sum(part[1] + part[2] for part in parts)]
        totals = [total + value for total, value in zip(totals, (before, after, *ours), strict=True)]
        rows.append((name, f"{before:,}", f"{after:,}", *(f"{value:,}" if found else "" for value in ours)))
    rows.append(("total", *(f"{value:,}" if found or place < 2 else "" for place, value in enumerate(totals))))
    columns = ("layer", "published", "published, pruned", "in the authors' file", "in the authors' file, pruned")
    return PaperTable("Table 1: parameters before and after pruning", columns, tuple(rows))


def _compared(net: Path | None) -> PaperTable:
    """Table 2; sizes in MB of a million bytes."""
    squeezed = f"{net.stat().st_size / MB:.2f}" if net else ""
    rows = (
        ("AlexNet, uncompressed", "240", f"{alexnet_bytes() / MB:.1f}", "57.2", "80.3"),
        ("AlexNet, SVD of its dense layers (Denton 2014)", "48", f"{svd_bytes(5.0) / MB:.1f}", "56.0", "79.4"),
        ("AlexNet, pruned (Han 2015)", "27", f"{pruned_bytes(9.0) / MB:.1f}", "57.2", "80.3"),
        ("AlexNet, Deep Compression, 5 and 8 bits", "6.9", f"{shared_bytes(9.0) / MB:.1f}", "57.2", "80.3"),
        ("SqueezeNet, uncompressed", "4.8", f"{4 * 1_248_424 / MB:.1f}", "57.5", "80.3"),
        ("SqueezeNet, Deep Compression, 8 bits", "0.66", squeezed, "57.5", "80.3"),
        ("SqueezeNet, Deep Compression, 6 bits", "0.47", "", "57.5", "80.3"),
    )
    columns = ("method", "MB, published", "MB, computed", "top-1 %, published", "top-5 %, published")
    return PaperTable("Table 2: compression methods", columns, rows)


def alexnet_bytes() -> int:
    """Float weights and biases of AlexNet with groups: 60,965,224 parameters."""
    return 4 * sum(int(np.prod(shape)) + shape[0] for shape in ALEXNET)


def svd_bytes(times: float) -> int:
    """AlexNet with each dense kernel as a product of two, at the largest common share of ranks that is so much smaller.

    An m x n kernel of rank k takes k * (m + n) numbers.
    """
    wanted = alexnet_bytes() / times
    share = 1.0
    while share > 0 and (size := _svd_bytes(share)) > wanted:
        share -= 0.001
    return size


def _svd_bytes(share: float) -> int:
    numbers = 0
    for out, inner, height, width in ALEXNET:
        inputs = inner * height * width
        rank = max(1, int(share * min(out, inputs)))
        dense = height == 1
        numbers += (rank * (out + inputs) if dense else out * inputs) + out
    return 4 * numbers


def pruned_bytes(times: float) -> int:
    """AlexNet with one weight in `times` left, each a float and a 4-bit distance to the one before, and all biases."""
    left = sum(int(np.prod(shape)) for shape in ALEXNET) / times
    fillers = _fillers(left, times)
    return int(4.5 * (left + fillers)) + 4 * sum(shape[0] for shape in ALEXNET)


def shared_bytes(times: float) -> int:
    """The same, in codes: 8 bits in convolutions and 5 in dense layers, 4-bit distances, codebooks; no Huffman code."""
    bits = 0.0
    for shape in ALEXNET:
        left = np.prod(shape) / times
        code = 5 if shape[2] == 1 else 8
        bits += (left + _fillers(left, times)) * (code + 4) + 32 * 2**code + 32 * shape[0]
    return int(bits / 8)


def _fillers(left: float, times: float) -> float:
    """Zeros that are stored because a distance does not fit in 4 bits, where weights fall at random."""
    beyond = (1 - 1 / times) ** 16
    return left * beyond / (1 - beyond)
