"""What a compression under way has found so far, on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgekit.artifact import atomic_write
from edgekit.compress.gradients import Curvature
from edgekit.errors import OutputError
from edgekit.graph import Array
from edgekit.quantize.kernels import Rounded
from edgekit.quantize.ranges import Sample


class Memory:
    """A folder of one compression: what it is given, in full, makes its name. None keeps nothing."""

    def __init__(self, root: Path | None, given: Sequence[bytes], samples: Sequence[Sample]) -> None:
        digest = hashlib.sha256()
        for part in given:
            digest.update(hashlib.sha256(part).digest())
        for sample in samples:
            for values in sample if isinstance(sample, tuple) else (sample,):
                digest.update(np.ascontiguousarray(values).tobytes())
        self.folder = root / digest.hexdigest()[:32] if root else None

    def recall(self, price: float, name: str) -> Rounded | None:
        """A layer as it was chosen at a price before."""
        found = self._read(self._layer(price, name))
        return None if found is None else Rounded(found["kernel"], found["scales"], found["bias"])

    def remember(self, price: float, name: str, rounded: Rounded) -> None:
        """Keeps a layer; a disk that is full costs only the way back."""
        arrays = {"kernel": rounded.kernel, "scales": rounded.scales, "bias": rounded.bias}
        self._write(self._layer(price, name), arrays)

    def recall_curvatures(self) -> dict[int, Curvature] | None:
        """What the gradients gave before."""
        found = self._read("curvatures")
        if found is None:
            return None
        kernels = {int(name.split("-")[1]) for name in found if name.startswith("outputs-")}
        return {
            kernel: Curvature(
                found.get(f"inputs-{kernel}"), found[f"outputs-{kernel}"], int(found[f"samples-{kernel}"])
            )
            for kernel in kernels
        }

    def remember_curvatures(self, curvatures: Mapping[int, Curvature]) -> None:
        """Keeps what the gradients gave."""
        arrays: dict[str, Array] = {}
        for kernel, curvature in curvatures.items():
            arrays[f"outputs-{kernel}"] = curvature.outputs
            arrays[f"samples-{kernel}"] = np.array(curvature.samples)
            if curvature.inputs is not None:
                arrays[f"inputs-{kernel}"] = curvature.inputs.astype(np.float32)
        self._write("curvatures", arrays)

    def forget(self) -> None:
        """Removes the folder once its result is written."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _layer(self, price: float, name: str) -> str:
        return hashlib.sha256(f"{price!r} {name}".encode()).hexdigest()[:24]

    def _read(self, name: str) -> dict[str, Array] | None:
        if self.folder is None:
            return None
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _write(self, name: str, arrays: Mapping[str, Array]) -> None:
        if self.folder is None:
            return
        with contextlib.suppress(OutputError), atomic_write(self.folder / f"{name}.npz") as file:
            np.savez(file, **dict(arrays))  # type: ignore[arg-type]
