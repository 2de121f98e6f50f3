"""A folder of images as calibration samples, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit import golden, images
from edgekit.artifact import Calibration
from edgekit.errors import DataError
from edgekit.export.trained import Progress, ignore
from edgekit.graph import Array
from edgekit.spec import InputSpec

CALIBRATION_IMAGES = 100
AUDIT_IMAGES = 100
_FEW_IMAGES, _MAX_UNREADABLE = 10, 0.5


@dataclass(frozen=True)
class Samples:
    """Decoded calibration images: float inputs, the first one's 16 x 16 miniature, and where they came from.

    `unseen` are inputs from other images of the folder, for the audit,
    `unseen_paths` where each lies. `skipped` names each image that could not be
    read, and why; `warnings` say why the others may serve badly.
    """

    inputs: Sequence[Array]
    miniature: Array
    record: Calibration
    unseen: Sequence[Array] = ()
    unseen_paths: tuple[Path, ...] = ()
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def load_samples(
    folder: Path, spec: InputSpec, count: int = CALIBRATION_IMAGES, progress: Progress = ignore
) -> Samples:
    """`count` evenly spaced images of a folder, decoded.

    DataError if there is none, more than half of them cannot be read, or none of them shows anything.
    """
    listed = images.list_images(folder)
    chosen = images.evenly_spaced(listed, count)
    others = images.evenly_spaced(sorted({*listed} - {*chosen}), AUDIT_IMAGES)

    def decode(content: bytes) -> tuple[str, Array]:
        return images.content_id(content), images.crop(content, spec)

    def report(done: int, of: int) -> None:
        progress("decode", done, of)

    decoded: list[tuple[str, Array]] = []
    skipped: list[str] = []
    unseen: list[tuple[Path, Array]] = []
    results = images.for_each(chosen, decode, workers=2, progress=report, limit=_MAX_UNREADABLE)
    for path, result in results:
        if isinstance(result, images.Unreadable):
            skipped.append(f"{path.name}: {result.reason}")
        else:
            decoded.append(result)
    seen = {identity for identity, _pixels in decoded}
    for path, result in images.for_each(others, decode, workers=2, limit=1.0):
        if not isinstance(result, images.Unreadable) and result[0] not in seen:
            unseen.append((path, images.normalise(result[1], spec)))
    crops = [pixels for _id, pixels in decoded]
    if all((pixels == pixels[0, 0]).all() for pixels in crops):
        raise DataError(f"the calibration images of {folder} hold no picture: each is of one colour all over")
    record = Calibration(tuple(identity for identity, _pixels in decoded), folder.resolve().name)
    return Samples(
        [images.normalise(pixels, spec) for pixels in crops],
        golden.shrink(crops[0]),
        record,
        [values for _path, values in unseen],
        tuple(path for path, _values in unseen),
        tuple(skipped),
        _poverty(crops),
    )


def _poverty(crops: Sequence[Array]) -> tuple[str, ...]:
    """What is wrong with calibration images that are few or alike."""
    different = len({pixels.tobytes() for pixels in crops})
    if different >= _FEW_IMAGES:
        return ()
    if different == 1 < len(crops):
        found = f"all {len(crops)} calibration images are identical"
    elif different < len(crops):
        found = f"only {different} of the {len(crops)} calibration images differ"
    else:
        found = f"only {different} calibration image{'s' * (different > 1)}"
    return (f"{found}: activation ranges will be poor; give {CALIBRATION_IMAGES} of what the model will see",)
