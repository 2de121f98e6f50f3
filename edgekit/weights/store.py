"""The asset store: pinned public weights, labels and sample images as checked local files.

An asset is a row of assets.json: a path of ours, and the public repository, commit and path it comes from with its
sha256, size and licence. It is looked for in the folder named by EDGEKIT_ASSETS; if that is unset, in the platform's
cache folder, into which a missing one is downloaded. EDGEKIT_ASSETS_URL names a mirror to use in place of
raw.githubusercontent.com: it is followed by repository, commit and path.
"""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from edgekit.artifact import sha256_of
from edgekit.errors import ChecksumError, MissingError, UnknownNameError
from edgekit.weights.download import Progress, download

PUBLIC_URL = "https://raw.githubusercontent.com"
IMAGES = "imagenet-sample"
HASHERS, DOWNLOADS = 4, 8  # threads


@dataclass(frozen=True)
class Asset:
    """One pinned public file; `name` is its path in the store, `licence` is empty where the source states none."""

    name: str
    sha256: str
    size_bytes: int
    repository: str
    commit: str
    repository_path: str
    licence: str

    @property
    def address(self) -> str:
        """Where it is downloaded from."""
        base = os.environ.get("EDGEKIT_ASSETS_URL") or PUBLIC_URL
        return f"{base.rstrip('/')}/{self.repository}/{self.commit}/{self.repository_path}"

    @property
    def source(self) -> str:
        """Its public origin in one line, whatever mirror is used."""
        return f"{self.repository}@{self.commit}:{self.repository_path}"


@functools.cache
def catalogue() -> dict[str, Asset]:
    """Every asset by name."""
    text = resources.files("edgekit.weights").joinpath("assets.json").read_text("utf-8")
    assets = [_row(group, *row) for group in json.loads(text) for row in group["files"]]
    return {asset.name: asset for asset in assets}


def _row(group: dict[str, str], name: str, sha256: str, size_bytes: int, repository_path: str = "") -> Asset:
    """A row names its path in the repository only where that is not the last part of its name."""
    path = repository_path or PurePosixPath(name).name
    return Asset(name, sha256, size_bytes, group["repository"], group["commit"], path, group["licence"])


def find(name: str) -> Asset:
    """The asset of that name; UnknownNameError suggests the nearest."""
    if name not in catalogue():
        raise UnknownNameError.among("asset", name, catalogue())
    return catalogue()[name]


def asset(name: str, progress: Progress | None = None) -> Path:
    """A checked local file with the asset's content, downloaded if need be.

    `progress` receives bytes done and bytes in all, during a download only. Raises UnknownNameError for a name that
    is not in the store, MissingError if the file is not at hand and cannot be downloaded, ChecksumError if its
    sha256 is not the pinned one, OutputError if the cache cannot be written.
    """
    return _ensure([find(name)], progress)[0]


def image_folder(progress: Progress | None = None) -> Path:
    """The folder with all 500 sample images (JPEG, wnid first in each name), every one checked; errors as `asset`."""
    images = [found for name, found in catalogue().items() if name.startswith(f"{IMAGES}/")]
    return _ensure(images, progress)[0].parent


def folder() -> Path:
    """Where the assets are looked for: what EDGEKIT_ASSETS names, else the platform's cache folder."""
    given = os.environ.get("EDGEKIT_ASSETS")
    return Path(given) if given else _cache()


def _ensure(assets: list[Asset], progress: Progress | None) -> list[Path]:
    home = folder()
    paths = [home / wanted.name for wanted in assets]
    with ThreadPoolExecutor(HASHERS) as pool:
        hashes = list(pool.map(_hash, paths))
    wrong = [wanted for wanted, found in zip(assets, hashes, strict=True) if found != wanted.sha256]
    if os.environ.get("EDGEKIT_ASSETS"):
        _explain_first(home, wrong, dict(zip(paths, hashes, strict=True)))
    elif wrong:
        _download_all(home, wrong, progress)
    return paths


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("edgekit"))


def _hash(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None


def _explain_first(folder: Path, wrong: list[Asset], hashes: dict[Path, str | None]) -> None:
    """Raises about the first asset that the folder named by EDGEKIT_ASSETS lacks or has in another version."""
    for asset in wrong[:1]:
        found = hashes[folder / asset.name]
        if found is None:
            raise MissingError(
                f"EDGEKIT_ASSETS is {folder}, and {asset.name} is not there or cannot be read; put {asset.address} "
                "there under that name, or unset EDGEKIT_ASSETS to have it downloaded"
            )
        raise ChecksumError(
            f"{folder / asset.name} has sha256 {found}, but {asset.sha256} is pinned; replace it by {asset.address}"
        )


def _download_all(folder: Path, assets: list[Asset], progress: Progress | None) -> None:
    report = _Sum(assets, progress)
    if len(assets) == 1:  # in this thread, where Ctrl-C ends it at once
        return _download(folder, assets[0], report)
    pool = ThreadPoolExecutor(DOWNLOADS)
    try:
        list(pool.map(lambda wanted: _download(folder, wanted, report), assets))
    finally:
        pool.shutdown(cancel_futures=True)
    return None


def _download(folder: Path, asset: Asset, report: _Sum) -> None:
    path = folder / asset.name
    try:
        download(asset.address, path, asset.sha256, asset.size_bytes, functools.partial(report, asset.name))
    except MissingError as error:
        raise MissingError(
            f"{error}; put the file at {path} by hand, or set EDGEKIT_ASSETS to a folder that has {asset.name}"
        ) from None


class _Sum:
    """Adds up the progress of several downloads for one callback."""

    def __init__(self, assets: Iterable[Asset], progress: Progress | None) -> None:
        self._done = dict.fromkeys((asset.name for asset in assets), 0)
        self._total = sum(asset.size_bytes for asset in assets)
        self._progress = progress
        self._lock = threading.Lock()

    def __call__(self, name: str, done: int, _: int) -> None:
        if self._progress:
            with self._lock:
                self._done[name] = done
                self._progress(sum(self._done.values()), self._total)
