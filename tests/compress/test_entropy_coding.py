"""Entropy coders give back what they were given, at the length that theory allows, and refuse what is damaged."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.compress import codecs, contexts, huffman, rans
from edgekit.errors import FileFormatError

symbols = arrays.arrays(np.uint8, st.integers(0, 3000), elements=st.integers(0, 255))


def skewed(count: int, seed: int = 0) -> np.ndarray:
    values = np.rint(np.random.default_rng(seed).laplace(0, 2, count))
    return (values.astype(np.int64) & 0xFF).astype(np.uint8)


@given(symbols, st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_rans_gives_back_every_symbol_in_any_number_of_lanes(values: np.ndarray, lanes: int) -> None:
    chosen = (np.arange(len(values)) % 3).astype(np.uint8)
    counts = np.zeros((3, 256))
    np.add.at(counts, (chosen, values), 1)
    tables = rans.frequencies(counts)
    coded = rans.encode(values, chosen, tables, lanes)
    assert (rans.decode(coded, chosen, tables) == values).all()


def test_rans_comes_within_half_a_percent_of_the_entropy() -> None:
    values = skewed(400_000)
    counts = np.bincount(values, minlength=256)[None]
    shares = counts[counts > 0] / counts.sum()
    ideal = -(shares * np.log2(shares)).sum() * len(values) / 8
    tables = rans.frequencies(counts)
    coded = rans.encode(values, np.zeros(len(values), np.uint8), tables, rans.lanes_for(len(values)))
    assert len(coded) < 1.005 * ideal + 5 * rans.lanes_for(len(values))


@given(arrays.arrays(np.int64, (4, 256), elements=st.integers(0, 10**6)))
@settings(max_examples=40, deadline=None)
def test_frequencies_add_up_and_forget_no_symbol(counts: np.ndarray) -> None:
    tables = rans.frequencies(counts)
    assert (tables.sum(1) == rans.TOTAL).all()
    assert (tables[counts > 0] >= 1).all()
    unpacked, used = codecs.unpack_tables(codecs.pack_tables(tables), len(tables))
    assert (unpacked == tables).all() and used == len(codecs.pack_tables(tables))


@given(symbols)
@settings(max_examples=60, deadline=None)
def test_huffman_gives_back_every_symbol(values: np.ndarray) -> None:
    assert (huffman.decode(huffman.encode(values), len(values)) == values).all()


def test_huffman_stays_within_its_longest_code_on_counts_like_fibonaccis() -> None:
    counts = np.zeros(256, np.int64)
    counts[:40] = [int(1.6**power) + 1 for power in range(40)]
    lengths = huffman.code_lengths(counts)
    assert lengths.max() <= 15
    assert sum(2.0 ** -int(length) for length in lengths if length) <= 1


@pytest.mark.parametrize("codec", codecs.CODECS, ids=lambda codec: codec.name)
@given(content=st.binary(max_size=600))
@settings(max_examples=25, deadline=None)
def test_every_codec_gives_back_every_byte(codec: codecs.Codec, content: bytes) -> None:
    assert codecs.decode(codec.number, codec.encode(content), len(content)) == content


@pytest.mark.parametrize("codec", codecs.CODECS, ids=lambda codec: codec.name)
def test_a_codec_gives_no_more_than_it_was_told(codec: codecs.Codec) -> None:
    coded = codec.encode(bytes(range(200)) * 500)
    with pytest.raises(FileFormatError):
        codecs.decode(codec.number, coded, 100)


@given(st.integers(0, 7), st.binary(max_size=700), st.integers(0, 2000))
@settings(max_examples=300, deadline=None)
def test_no_codec_does_anything_but_refuse_or_decode(number: int, coded: bytes, size: int) -> None:
    with contextlib.suppress(FileFormatError):
        assert len(codecs.decode(number, coded, size)) == size


def test_classes_gain_where_rows_and_columns_differ() -> None:
    generator = np.random.default_rng(0)
    spread = np.geomspace(0.3, 12, 64)[:, None] * np.geomspace(0.5, 2, 128)[None, :]
    values = np.rint(generator.laplace(0, 1, spread.shape) * spread).clip(-127, 127)
    matrix = (values.astype(np.int64) & 0xFF).astype(np.uint8)
    classes = contexts.fitted([matrix])
    tables = rans.frequencies(contexts.counts([matrix], classes))
    one = contexts.plain([matrix])
    plainly = rans.cost_bits(contexts.counts([matrix], one), rans.frequencies(contexts.counts([matrix], one)))
    assert classes.tables > 1
    assert rans.cost_bits(contexts.counts([matrix], classes), tables) < 0.9 * plainly
