"""The rows of the comparison as JSON lines: raw outcomes per image; statistics are derived in table.py."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgekit.artifact import atomic_write
from edgekit.errors import FileFormatError
from quantization.tools import Settings

FLOAT = "float32"


class Row(msgspec.Struct, frozen=True):
    """One tool on one model, or with `tool` "float32" the float model itself.

    `rank`, `agrees` and `kl_nats` are per evaluation image as in edgekit.measurement.Quality. `seconds`,
    `cpu_seconds` and `peak_rss_bytes` are those of the quantization alone. With an `error` nothing was measured.
    """

    model: str
    tool: str
    float_sha256: str
    images_sha256: str
    started_utc: str
    machine: str
    settings: Settings = {}
    pins: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    error: str | None = None
    rank: tuple[int | None, ...] = ()
    agrees: tuple[bool, ...] = ()
    kl_nats: tuple[float, ...] = ()
    size_bytes: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_rss_bytes: int | None = None
    float_conversion_seconds: float | None = None
    float_conversion_cpu_seconds: float | None = None
    float_difference: float | None = None
    model_sha256: str | None = None
    outputs_sha256: str | None = None

    @property
    def place(self) -> tuple[str, str]:
        """What a later row replaces."""
        return self.model, self.tool

    def answers(self, pins: tuple[str, ...], settings: Settings, images_sha256: str) -> bool:
        """Whether this is the outcome of what would be asked now."""
        asked = (pins, settings, images_sha256)
        return self.error is None and (self.pins, self.settings, self.images_sha256) == asked


def read(path: Path) -> dict[tuple[str, str], Row]:
    """The rows by model and tool; FileFormatError names a line that is none."""
    if not path.exists():
        return {}
    lines = path.read_bytes().splitlines()
    rows = [_decoded(path, number, line) for number, line in enumerate(lines, 1) if line]
    return {row.place: row for row in rows}


def store(path: Path, row: Row) -> None:
    """Adds a row, in place of the one for the same model and tool; the file is whole at every moment."""
    rows = read(path) | {row.place: row}
    with atomic_write(path) as file:
        file.writelines(msgspec.json.encode(rows[place]) + b"\n" for place in sorted(rows))


def _decoded(path: Path, number: int, line: bytes) -> Row:
    try:
        return msgspec.json.decode(line, type=Row)
    except msgspec.DecodeError as error:
        raise FileFormatError(f"{path}, line {number}: not a row of this comparison ({error})") from None
