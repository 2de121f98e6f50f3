"""The .net codec: a writer of our own, the real file, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import FileFormatError
from edgekit.weights import deep_compression

SHAPES = [("first", (3, 2, 3, 3)), ("second", (5, 3, 1, 1))]


def encode_layer(codes: np.ndarray) -> tuple[bytes, bytes, int]:
    """Codes and gaps of a flat array of 8-bit codes, with a filler entry after every 16 positions without one."""
    entries, gaps, last = [], [], -1
    for position in np.flatnonzero(codes):
        while position - last > 16:
            last += 16
            entries.append(0)
            gaps.append(15)
        entries.append(int(codes[position]))
        gaps.append(int(position) - last - 1)
        last = position
    padded = [*gaps, 0] if len(gaps) % 2 else gaps
    packed = bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))
    return bytes(entries), packed, len(entries)


def encode(layers: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> bytes:
    """The bytes of layers given as (codebook, bias, codes)."""
    counts, sections = [], []
    for codebook, bias, codes in layers:
        entries, packed, count = encode_layer(codes.ravel())
        counts.append(count)
        sections.append(codebook.astype("<f4").tobytes() + bias.astype("<f4").tobytes() + entries + packed)
    return np.array(counts, "<u4").tobytes() + b"".join(sections)


def random_layers(seed: int, density: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    layers = []
    for _, shape in SHAPES:
        codebook = np.concatenate([[0], random.normal(size=255)]).astype(np.float32)
        codes = random.integers(1, 256, shape) * (random.random(shape) < density)
        layers.append((codebook, random.normal(size=shape[0]).astype(np.float32), codes.astype(np.uint8)))
    return layers


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.3, 1.0]))
def test_what_is_written_is_read(seed: int, density: float) -> None:
    layers = random_layers(seed, density)
    decoded = deep_compression.decode(encode(layers), SHAPES, "some.net")
    for (name, _), (codebook, bias, codes), layer in zip(SHAPES, layers, decoded, strict=True):
        assert (layer.name, layer.kind) == (name, "conv")
        np.testing.assert_array_equal(layer.kernel.transpose(3, 2, 0, 1), codebook[codes])
        np.testing.assert_array_equal(layer.arrays["bias"], bias)
        assert layer.kernel.dtype == np.float32


@pytest.mark.parametrize("keep", [1, 7, 8, 100, -1])
def test_truncated(keep: int) -> None:
    content = encode(random_layers(0, 0.3))
    with pytest.raises(FileFormatError, match=r"some\.net is truncated"):
        deep_compression.decode(content[:keep], SHAPES, "some.net")


def test_surplus_bytes() -> None:
    with pytest.raises(FileFormatError, match="too long"):
        deep_compression.decode(encode(random_layers(0, 0.3)) + b"!", SHAPES, "some.net")


def test_count_beyond_the_layer() -> None:
    content = bytearray(encode(random_layers(0, 0.3)))
    content[0:4] = (55).to_bytes(4, "little")
    with pytest.raises(FileFormatError, match="counts 55 weights in first, which has 54"):
        deep_compression.decode(bytes(content), SHAPES, "some.net")


def test_gaps_beyond_the_layer() -> None:
    content = bytearray(encode(random_layers(0, 1.0)))
    content[-1] = 0xFF
    with pytest.raises(FileFormatError, match="a weight of second lands at"):
        deep_compression.decode(bytes(content), SHAPES, "some.net")


@pytest.mark.assets
def test_real_squeezenet(assets: Path) -> None:
    weights = deep_compression.read(assets / "weights/compressed_SqueezeNet.net")
    assert len(weights.layers) == 26
    assert sum(array.size for layer in weights.layers for array in layer.arrays.values()) == 1_248_424
    assert sum(np.count_nonzero(layer.kernel) for layer in weights.layers) == 415_921
    assert weights.sha256.startswith("e4ab6960") and weights.source == "compressed_SqueezeNet.net"
    assert weights.input is not None
    assert (weights.input.channels, weights.input.mean) == ("BGR", (104.0, 117.0, 123.0))
    shapes = {layer.name: layer.kernel.shape for layer in weights.layers}
    assert shapes["conv1"] == (7, 7, 3, 96) and shapes["conv10"] == (1, 1, 512, 1000)
    assert shapes["fire9_expand3x3"] == (3, 3, 64, 256)


# Parameters left after pruning, biases included, as the SqueezeNet paper's Table 1 counts them.
PRUNED = {"conv1": 14_208, "fire2": 5_746, "fire5": 24_742, "fire9": 77_581, "conv10": 103_400}


@pytest.mark.assets
@pytest.mark.parametrize("module", PRUNED)
def test_real_layers_are_as_sparse_as_published(assets: Path, module: str) -> None:
    weights = deep_compression.read(assets / "weights/compressed_SqueezeNet.net")
    layers = [layer for layer in weights.layers if layer.name.split("_")[0] == module]
    kept = sum(np.count_nonzero(layer.kernel) + layer.arrays["bias"].size for layer in layers)
    assert kept == pytest.approx(PRUNED[module], rel=0.03)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.3, 1.0]))
def test_our_writer_gives_what_is_read_with_8_and_4_bits(seed: int, density: float) -> None:
    random = np.random.default_rng(seed)
    layers = [("conv1", (3, 2, 3, 3)), ("fc6", (7, 41))]
    coded = []
    for _, shape in layers:
        size = 256 if len(shape) == 4 else 16
        codes = (random.integers(1, size, shape) * (random.random(shape) < density)).astype(np.uint8)
        book = np.concatenate([[0], random.normal(size=size - 1)]).astype(np.float32)
        coded.append(deep_compression.Coded(book, random.normal(size=shape[0]).astype(np.float32), codes))
    content = deep_compression.encode(coded)
    again = deep_compression.coded_layers(content, layers, "some.net")
    for before, after in zip(coded, again, strict=True):
        assert (before.codes == after.codes).all() and (before.codebook == after.codebook).all()
        assert (before.bias == after.bias).all()
    assert deep_compression.encode(again) == content
    kernels = deep_compression.decode(content, layers, "some.net")
    assert [layer.kind for layer in kernels] == ["conv", "dense"]
    assert (kernels[1].kernel == coded[1].codebook[coded[1].codes].T).all()


@pytest.mark.assets
def test_the_authors_file_is_written_again_to_the_last_byte(assets: Path) -> None:
    content = (assets / "weights" / "compressed_SqueezeNet.net").read_bytes()
    layers = deep_compression.known_layers(content)
    assert layers == deep_compression.squeezenet_layers()
    assert deep_compression.encode(deep_compression.coded_layers(content, layers, "its.net")) == content
