"""An .ekz gives back the very bytes, and nothing damaged, lying or newer gets through or takes more than its limits."""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from float_graphs import VALID, Net
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit import artifact as artifacts
from edgekit import errors
from edgekit.artifact import Artifact
from edgekit.compress import blocks, container, limits, packing, unpacking
from edgekit.errors import ChecksumError, EdgekitError, FileFormatError, OutputError

GOLDEN = Path(__file__).parent / "golden.ekz"
GOLDEN_SHA256 = "c345813d15591e61f4cd76c760ebeea3e05dbb0badb0d00d14ba480c65273520"


@pytest.fixture(scope="module")
def packed(tiny: Artifact) -> bytes:
    return packing.pack(artifacts.read_model(tiny.path)).content


def unpacked(content: bytes) -> bytes:
    return unpacking.unpack_bytes(content, "model.ekz")


def sealed(header: bytes, body: bytes) -> bytes:
    """A header with a checksum that holds, whatever it says."""
    return header + struct.pack("<I", zlib.crc32(header)) + body


def header(content: bytes, version: int = 1, kind: int = 0, count: int = 1, size: int | None = None) -> bytes:
    digest = hashlib.sha256(content).digest()
    declared = len(content) if size is None else size
    return struct.pack("<8sBBHQ32s", container.MAGIC, version, kind, count, declared, digest)


def block(coded: bytes, size: int, length: int | None = None) -> bytes:
    lengths = struct.pack("<II", size, len(coded) if length is None else length)
    return lengths + struct.pack("<I", zlib.crc32(coded, zlib.crc32(lengths))) + coded


def test_a_model_comes_back_to_the_last_byte(tiny: Artifact, tiny_float: Artifact) -> None:
    for artifact in (tiny, tiny_float):
        content = artifact.path.read_bytes()
        assert unpacked(packing.pack(content).content) == content


@given(st.binary(max_size=3000))
@settings(max_examples=12, deadline=None)
def test_any_bytes_come_back(content: bytes) -> None:
    assert unpacked(packing.pack(content).content) == content


def test_many_blocks_come_back(monkeypatch: pytest.MonkeyPatch, tiny: Artifact) -> None:
    content = tiny.path.read_bytes()
    for size in (997, 4096, len(content) - 1):
        for module in (limits, container, blocks, packing.layout):
            monkeypatch.setattr(module, "BLOCK_BYTES", size)
        made = packing.pack(content).content
        assert container.read_header(io.BytesIO(made), "x").blocks == -(-len(content) // size)
        assert unpacked(made) == content


def test_shared_weights_in_float_are_codes_with_a_palette() -> None:
    net = Net((1, 8, 8, 8))
    start = net.graph.inputs[0]
    kernel = np.linspace(-1, 1, 15, dtype=np.float32)[np.random.default_rng(0).integers(0, 15, (40, 3, 3, 8))]
    data = net.add("CONV_2D", [start, net.constant(kernel)], (1, 6, 6, 40), padding=VALID)
    content = net.done(data)
    made = packing.pack(content)
    assert unpacked(made.content) == content
    weights = next(section for section in made.sections if section.name == "weights")
    assert weights.size_bytes == kernel.size
    assert weights.coded_bytes < kernel.size / 2 + 100  # less than 4 bits each


def test_the_golden_file_decodes_for_ever() -> None:
    content = unpacked(GOLDEN.read_bytes())
    assert hashlib.sha256(content).hexdigest() == GOLDEN_SHA256


def test_every_flipped_bit_is_found() -> None:
    whole = GOLDEN.read_bytes()
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 1 << (place % 8)
        with pytest.raises(FileFormatError):
            unpacked(bytes(altered))


def test_every_truncation_is_found() -> None:
    whole = GOLDEN.read_bytes()
    for length in range(len(whole)):
        with pytest.raises(FileFormatError):
            unpacked(whole[:length])
    with pytest.raises(FileFormatError, match="behind the last"):
        unpacked(whole + b"x")


def test_a_newer_version_says_so() -> None:
    with pytest.raises(FileFormatError, match="version 2, and this edgekit reads 1; update"):
        unpacked(sealed(header(b"abc", version=2), b""))


def test_another_hash_is_told(packed: bytes) -> None:
    altered = bytearray(packed)
    altered[25] ^= 1
    with pytest.raises(ChecksumError, match="download it again"):
        unpacked(sealed(bytes(altered[: container.HEADER_BYTES - 4]), packed[container.HEADER_BYTES :]))


@pytest.mark.parametrize(
    "content",
    [
        sealed(header(b"", size=1 << 40, count=65535), b""),
        sealed(header(b"", size=1 << 30, count=256), block(b"\x00", 1 << 22)),
        sealed(header(b"", size=100, count=1), block(b"\x00" * 10, 100, length=1 << 31)),
        sealed(header(b"", size=100, count=1), block(b"\x00" * 10, 1 << 31)),
        sealed(header(b"", size=1 << 22, count=1), block(b"\x00" * 1000, 1 << 22)),
    ],
    ids=["size", "ratio", "coded size", "block size", "bomb"],
)
def test_sizes_that_lie_are_refused_before_memory_is_taken(content: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(FileFormatError):
        unpacked(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


def test_a_block_that_unpacks_to_more_than_it_says_is_refused(packed: bytes) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    coded = bomb.compress(bytes(1 << 26)) + bomb.flush()
    plan = b"\x00\x03\x03" + b"\x01\x00\x40"
    body = (
        plan + b"\x01\x40" + bytes([len(coded) & 0x7F | 0x80, len(coded) >> 7 & 0x7F | 0x80, len(coded) >> 14]) + coded
    )
    body += b"\x00\x00\x00" * 2
    tracemalloc.start()
    with pytest.raises(FileFormatError):
        blocks.decode(body, 64)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 21


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_blocks_whose_checksum_holds_but_whose_content_is_wild_are_refused_or_decoded(data: st.DataObject) -> None:
    """Checksums stop accidents; a forger makes them hold."""
    whole = GOLDEN.read_bytes()
    coded = bytearray(whole[container.HEADER_BYTES + 12 :])
    for _ in range(data.draw(st.integers(1, 6))):
        coded[data.draw(st.integers(0, len(coded) - 1))] = data.draw(st.integers(0, 255))
    size = container.read_header(io.BytesIO(whole), "golden").size_bytes
    with contextlib.suppress(FileFormatError):
        assert len(blocks.decode(bytes(coded), size)) == size


@given(st.binary(max_size=400), st.integers(0, 5000))
@settings(max_examples=120, deadline=None)
def test_noise_is_refused(content: bytes, size: int) -> None:
    for attempt in (lambda: blocks.decode(content, size), lambda: unpacked(container.MAGIC + content)):
        with contextlib.suppress(EdgekitError):
            attempt()


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, packed: bytes) -> None:
    source = tmp_path / "model.ekz"
    source.write_bytes(packed)
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError):
        unpacking.unpack_file(source, tmp_path / "taken")
    source.write_bytes(packed[:-1])
    with pytest.raises(FileFormatError, match=r"model\.ekz"):
        unpacking.unpack_file(source, tmp_path / "model.tflite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.ekz", "taken"]


def test_it_is_read_wherever_a_tflite_is(tmp_path: Path, tiny: Artifact, packed: bytes) -> None:
    path = tmp_path / "small.ekz"
    path.write_bytes(packed)
    read = artifacts.read(path)
    assert (read.sha256, read.card, read.golden) == (tiny.sha256, tiny.card, tiny.golden)
    assert (read.download_bytes, read.size_bytes, read.name) == (len(packed), tiny.size_bytes, "small")
    with artifacts.plain_file(read) as plain:
        assert plain.read_bytes() == tiny.path.read_bytes()
    assert not plain.exists()


def test_a_damaged_one_names_its_file(tmp_path: Path, packed: bytes) -> None:
    path = tmp_path / "small.ekz"
    path.write_bytes(packed[:-9])
    with pytest.raises(errors.FileFormatError, match=r"small\.ekz.*damaged"):
        artifacts.read(path)
