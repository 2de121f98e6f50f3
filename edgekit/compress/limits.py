"""What a reader of .ekz files believes: limits on every declared size, and the one error for what breaks them."""

from __future__ import annotations

from edgekit.errors import FileFormatError

MOST_BYTES = 1 << 30  # of a decompressed model
BLOCK_BYTES = 1 << 22  # of a model are decoded at a time
MOST_RATIO = 2000  # a block's size to its coded form; a network of nothing but zeros comes to some 1000
MOST_PIECES = 1 << 16  # of a block


def damaged(why: str) -> FileFormatError:
    """The error for content that contradicts itself."""
    return FileFormatError(f"the compressed model is damaged: {why}; download or compress it again")
