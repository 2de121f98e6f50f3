"""Image files to network inputs, by InputSpec; nothing else in edgekit decodes, resizes or normalises."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from edgekit.errors import DataError, FileFormatError
from edgekit.runtime import Array, TensorInfo
from edgekit.spec import InputSpec

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm"}
MAX_UNREADABLE = 0.05
_LONGEST_SIDE = 8192
T = TypeVar("T")


def list_images(folder: Path) -> list[Path]:
    """Every image file below `folder`, sorted by its path; DataError if there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; a folder of images was expected")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"no images below {folder}; looked for {', '.join(sorted(SUFFIXES))}")
    return found


def evenly_spaced(paths: Sequence[Path], count: int) -> list[Path]:
    """`count` of the paths at equal distances, beginning with the first; all of them if there are fewer."""
    if count >= len(paths):
        return list(paths)
    return [paths[number * len(paths) // count] for number in range(count)]


def content_id(content: bytes) -> str:
    """A short name for an image file's content: the first 8 hexadecimal digits of its sha256."""
    return hashlib.sha256(content).hexdigest()[:8]


def digest(paths: Sequence[Path]) -> str:
    """What a record of accuracy calls a set of images in their order: the sha256 of their contents' sha256."""
    whole = hashlib.sha256()
    for _, found in for_each(paths, lambda content: hashlib.sha256(content).digest(), workers=2, limit=1.0):
        if not isinstance(found, Unreadable):
            whole.update(found)
    return whole.hexdigest()


def thumbnail(path: Path, size: int = 96) -> str:
    """A small square form of an image as a data address, for a page that has everything in it."""
    from PIL import Image, ImageOps

    with Image.open(path) as opened:
        small = ImageOps.fit(_as_rgb(opened), (size, size))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def without(paths: Sequence[Path], ids: Collection[str]) -> list[Path]:
    """The paths whose content is none of `ids`; unreadable files stay, to be reported by whoever opens them."""
    if not ids:
        return list(paths)
    found = for_each(paths, content_id, workers=4, limit=1.0)
    return [path for path, identity in found if identity not in ids]


def window(spec: InputSpec) -> InputSpec:
    """What `crop` obeys of a spec: two inputs that differ only in channels, mean and std have equal crops."""
    return InputSpec(spec.height, spec.width, spec.resize_shorter)


def crop(content: bytes, spec: InputSpec) -> Array:
    """The image resized and cropped: (height, width, 3) uint8 RGB. FileFormatError if it cannot be decoded.

    Transparency and orientation tags are left out of account, as they were where accuracies were published.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(_resized_crop(_as_rgb(image), spec))
    except FileFormatError:
        raise
    except UnidentifiedImageError:
        raise FileFormatError("no image of a known format") from None
    except Exception as error:  # Pillow's decoders raise many kinds
        raise FileFormatError(f"{type(error).__name__}: {error}") from None


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "F":
        raise FileFormatError("floating-point pixels have no known range")
    if image.mode.startswith("I"):  # 16 bits a pixel, of which Pillow would clip all but the lowest 8
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _resized_crop(image: Image.Image, spec: InputSpec) -> Image.Image:
    from PIL import Image

    shorter = min(image.size)
    width, height = (_scaled(side, shorter, spec.resize_shorter) for side in image.size)
    left, top = (width - spec.width) // 2, (height - spec.height) // 2
    kept = (left, top, left + spec.width, top + spec.height)
    if max(width, height) <= _LONGEST_SIDE:
        return image.resize((width, height), Image.Resampling.BILINEAR).crop(kept)
    across, down = image.width / width, image.height / height  # a strip: resize only what the crop keeps
    box = (kept[0] * across, kept[1] * down, kept[2] * across, kept[3] * down)
    return image.resize((spec.width, spec.height), Image.Resampling.BILINEAR, box=box)


def _scaled(side: int, shorter: int, target: int) -> int:
    return target if side == shorter else round(target * side / shorter)


def normalise(pixels: Array, spec: InputSpec) -> Array:
    """RGB pixels (height, width, 3) as the float network's input: (1, height, width, 3) float32."""
    ordered = pixels if spec.channels == "RGB" else pixels[..., ::-1]
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    values: Array = (ordered.astype(np.float32) - mean) / std
    return values[np.newaxis]


class Preprocessor:
    """Turns RGB pixels into one model's input tensor, in that tensor's own type.

    A quantized input takes only 256 values per channel, so these are computed once and looked up.
    """

    def __init__(self, spec: InputSpec, tensor: TensorInfo) -> None:
        if tensor.shape != (1, spec.height, spec.width, 3):
            wanted = f"(1, {spec.height}, {spec.width}, 3)"
            raise DataError(f"the model's input is {tensor.shape}, the preprocessing makes {wanted}")
        self.spec = spec
        self._table: Array | None = None
        if tensor.dtype.kind != "f":
            every = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis, np.newaxis], 3, axis=2)
            self._table = tensor.quantize(normalise(every, spec))[0, :, 0, :]

    def __call__(self, pixels: Array) -> Array:
        """(height, width, 3) uint8 RGB to (1, height, width, 3)."""
        if self._table is None:
            return normalise(pixels, self.spec)
        ordered = pixels if self.spec.channels == "RGB" else pixels[..., ::-1]
        planes = [self._table[:, channel].take(ordered[..., channel]) for channel in range(3)]
        return np.stack(planes, axis=-1)[np.newaxis]


class Unreadable(NamedTuple):
    """An image that could not be used, and why."""

    path: Path
    reason: str


def for_each(
    paths: Sequence[Path],
    work: Callable[[bytes], T],
    workers: int,
    progress: Callable[[int, int], None] | None = None,
    limit: float = MAX_UNREADABLE,
) -> Iterator[tuple[Path, T | Unreadable]]:
    """`work` on every file's content, on `workers` threads; results come in the order of `paths`.

    A file that cannot be read or decoded gives an Unreadable; DataError once a larger share than `limit` is.
    """
    allowed = limit * len(paths)
    unreadable: list[Unreadable] = []
    pool = ThreadPoolExecutor(workers)
    try:
        for number, (path, result) in enumerate(zip(paths, pool.map(partial(_attempt, work), paths), strict=True)):
            if isinstance(result, Unreadable):
                unreadable.append(result)
            if len(unreadable) > allowed:
                names = ", ".join(f"{item.path.name} ({item.reason})" for item in unreadable[:3])
                raise DataError(f"too many unreadable images, more than {limit:.0%}: {names}")
            if progress:
                progress(number + 1, len(paths))
            yield path, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _attempt(work: Callable[[bytes], T], path: Path) -> T | Unreadable:
    try:
        return work(path.read_bytes())
    except OSError as error:
        return Unreadable(path, error.strerror or str(error))
    except FileFormatError as error:
        return Unreadable(path, str(error))
