"""The store against a real server that cuts, lies, stalls and refuses."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgekit.errors import ChecksumError, MissingError, OutputError, UnknownNameError
from edgekit.weights import download, image_folder, store

CONTENT = bytes(range(256)) * 1200  # 300 kB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def entry(name: str, content: bytes = CONTENT) -> store.Asset:
    sha256 = hashlib.sha256(content).hexdigest()
    return store.Asset(name, sha256, len(content), "someone/something", "abc123", Path(name).name, "CC0")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server) -> Path:
    """A store of one asset, w/model.bin, that the server has, with an empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.delenv("EDGEKIT_ASSETS", raising=False)
    monkeypatch.setenv("EDGEKIT_ASSETS_URL", server.address)
    monkeypatch.setattr(store, "_cache", lambda: folder)
    monkeypatch.setattr(store, "catalogue", lambda: {"w/model.bin": entry("w/model.bin")})
    server.files["/someone/something/abc123/model.bin"] = CONTENT
    return folder


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def part_of(cache: Path, content: bytes) -> Path:
    part = cache / "w/model.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    return part


def test_downloads_once_and_reports_progress(cache, server) -> None:
    seen: list[tuple[int, int]] = []
    path = store.asset("w/model.bin", lambda done, total: seen.append((done, total)))
    assert path == cache / "w/model.bin" and path.read_bytes() == CONTENT
    assert seen == sorted(seen) and len(seen) > 2 and seen[-1] == (len(CONTENT), len(CONTENT))
    assert store.asset("w/model.bin") == path
    assert len(server.requests) == 1
    assert leftovers(cache) == ["model.bin"]


def test_connection_that_is_cut_midway_is_resumed(cache, server) -> None:
    server.cuts = [100_000, 50_000]
    assert store.asset("w/model.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == ["", "bytes=100000-", "bytes=150000-"]


def test_part_is_kept_for_the_next_call_when_every_try_is_cut(cache, server) -> None:
    server.cuts = [1000, 1000, 1000]
    with pytest.raises(MissingError, match="after 3000 of 307200 bytes"):
        store.asset("w/model.bin")
    assert leftovers(cache) == ["model.bin.part"]
    assert store.asset("w/model.bin").read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=3000-"
    assert leftovers(cache) == ["model.bin"]


def test_server_that_ignores_range_sends_everything_again(cache, server) -> None:
    part_of(cache, CONTENT[:1234])
    server.ranges = False
    assert store.asset("w/model.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == ["bytes=1234-"]


@pytest.mark.parametrize(
    ("size", "asked"), [(1234, ["bytes=1234-", ""]), (len(CONTENT), [""]), (len(CONTENT) + 1, [""])]
)
def test_part_with_wrong_content_is_started_over(cache, server, size: int, asked: list[str]) -> None:
    part_of(cache, b"x" * size)
    assert store.asset("w/model.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == asked


def test_complete_part_needs_no_server(cache, server) -> None:
    part_of(cache, CONTENT)
    server.files.clear()
    assert store.asset("w/model.bin").read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"!", CONTENT + b"!"])
def test_wrong_bytes_are_never_kept(cache, server, wrong: bytes) -> None:
    server.files["/someone/something/abc123/model.bin"] = wrong
    with pytest.raises(ChecksumError, match=f"{SHA256} is pinned"):
        store.asset("w/model.bin")
    assert leftovers(cache) == []
    assert len(server.requests) == 3


def test_corrupted_file_in_the_cache_is_replaced(cache, server) -> None:
    path = store.asset("w/model.bin")
    path.write_bytes(CONTENT[:100] + b"!" + CONTENT[101:])
    assert store.asset("w/model.bin").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_busy_server_is_asked_again(cache, server) -> None:
    server.statuses = [503, 429]
    assert store.asset("w/model.bin").read_bytes() == CONTENT


def test_file_that_is_gone_is_not_asked_for_again(cache, server) -> None:
    server.files.clear()
    with pytest.raises(MissingError, match="404"):
        store.asset("w/model.bin")
    assert len(server.requests) == 1
    assert leftovers(cache) == []


def test_offline_says_what_to_do(cache, monkeypatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("EDGEKIT_ASSETS_URL", base)
    with pytest.raises(MissingError) as caught:
        store.asset("w/model.bin")
    message = str(caught.value)
    assert f"{base}/someone/something/abc123/model.bin" in message
    assert f"put the file at {cache / 'w/model.bin'}" in message
    assert "EDGEKIT_ASSETS" in message and "refused" in message and "\n" not in message
    assert leftovers(cache) == []


def test_cache_that_cannot_be_written(cache) -> None:
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(OutputError, match=r"cannot write .*model\.bin: .*EDGEKIT_ASSETS"):
        store.asset("w/model.bin")


DOWNLOAD = """
import sys
from pathlib import Path
from edgekit.errors import EdgekitError
from edgekit.weights import download
download.PAUSES_S = (0.0,)
if sys.argv[5:]:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), -1))
try:
    download.download(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
except EdgekitError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def download_command(server, path: Path, *more: str) -> list[str]:
    address = f"{server.address}/someone/something/abc123/model.bin"
    return [sys.executable, "-c", DOWNLOAD, address, str(path), SHA256, str(len(CONTENT)), *more]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_disk_that_fills_up_midway(cache, server) -> None:
    path = cache / "w/model.bin"
    run = subprocess.run(download_command(server, path, "100000"), capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert run.stderr.startswith(f"OutputError: cannot write {path}: File too large")
    assert not path.exists()
    assert store.asset("w/model.bin").read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_killed_download_is_resumed(cache, server) -> None:
    server.stall_after = 200_000
    part = cache / "w/model.bin.part"
    process = subprocess.Popen(download_command(server, cache / "w/model.bin"))
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 0):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.stall_after = None
    kept = part.stat().st_size
    assert store.asset("w/model.bin").read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={kept}-"
    assert leftovers(cache) == ["model.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX file locks")
def test_two_at_once_download_once(cache, server) -> None:
    threads = [threading.Thread(target=store.asset, args=("w/model.bin",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert leftovers(cache) == ["model.bin"]


def test_image_folder_downloads_what_is_missing(cache, server, monkeypatch) -> None:
    images = {f"imagenet-sample/n{i:02}.JPEG": b"%d" % i * 50 for i in range(20)}
    monkeypatch.setattr(store, "catalogue", lambda: {name: entry(name, content) for name, content in images.items()})
    server.files = {f"/someone/something/abc123/{Path(name).name}": content for name, content in images.items()}
    seen: list[tuple[int, int]] = []
    folder = image_folder(lambda done, total: seen.append((done, total)))
    assert {f"imagenet-sample/{path.name}": path.read_bytes() for path in folder.iterdir()} == images
    total = sum(map(len, images.values()))
    assert seen[-1] == (total, total) and len(seen) == 20
    (folder / "n07.JPEG").unlink()
    image_folder()
    assert len(server.requests) == 21


def test_one_missing_image_fails_the_folder(cache, server, monkeypatch) -> None:
    monkeypatch.setattr(
        store, "catalogue", lambda: {f"imagenet-sample/{i}": entry(f"imagenet-sample/{i}") for i in "ab"}
    )
    server.files["/someone/something/abc123/a"] = CONTENT
    with pytest.raises(MissingError, match="imagenet-sample/b"):
        image_folder()


def test_given_folder_is_checked_and_never_downloaded_into(cache, server, tmp_path, monkeypatch) -> None:
    given = tmp_path / "given"
    (given / "w").mkdir(parents=True)
    monkeypatch.setenv("EDGEKIT_ASSETS", str(given))
    with pytest.raises(MissingError, match=rf"EDGEKIT_ASSETS is {given}, and w/model\.bin is not there"):
        store.asset("w/model.bin")
    (given / "w/model.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(ChecksumError, match=f"has sha256 .*{SHA256} is pinned"):
        store.asset("w/model.bin")
    (given / "w/model.bin").write_bytes(CONTENT)
    assert store.asset("w/model.bin") == given / "w/model.bin"
    assert server.requests == []


def test_unknown_asset_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*tflite/imagenet_labels\.txt"):
        store.asset("tflite/imagenet_label.txt")


def test_catalogue_pins_public_files() -> None:
    rows = store.catalogue()
    assert sum(name.startswith("imagenet-sample/") for name in rows) == 500
    assert not any("cifar" in name for name in rows)
    for row in rows.values():
        assert len(row.sha256) == 64 and len(row.commit) == 40 and row.size_bytes > 0
    net = store.find("weights/compressed_SqueezeNet.net")
    assert net.address == (
        "https://raw.githubusercontent.com/songhan/SqueezeNet-Deep-Compression/"
        "fb13faa2cf121ced9999f8a9d538ec6c56084733/compressed_SqueezeNet.net"
    )
    assert (
        net.source
        == "songhan/SqueezeNet-Deep-Compression@fb13faa2cf121ced9999f8a9d538ec6c56084733:compressed_SqueezeNet.net"
    )


@pytest.mark.assets
def test_catalogue_says_what_the_manifest_says(assets) -> None:
    manifest = assets / "MANIFEST.json"
    if not manifest.exists():
        pytest.skip(f"{assets} has no MANIFEST.json to compare with")
    rows = {row["path"]: row for row in json.loads(manifest.read_text()) if not row["path"].startswith("cifar10/")}
    assert rows.keys() == store.catalogue().keys()
    for name, row in rows.items():
        found = store.find(name)
        assert (found.sha256, found.size_bytes, found.commit) == (row["sha256"], row["bytes"], row["commit"])
        assert (found.repository, found.repository_path) == (row["repository"], row["repository_path"])
        assert found.licence == row["licence"]


@pytest.mark.assets
def test_real_images_are_checked_quickly(assets) -> None:
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        folder = image_folder()
        durations.append(time.perf_counter() - start)
    assert folder == assets / "imagenet-sample"
    assert min(durations) < 1.0, "54 MB should take about 0.1 s"


def test_importing_the_room_is_light() -> None:
    heavy = "tensorflow keras h5py google.protobuf ai_edge_litert platformdirs"
    code = f"import sys, edgekit.weights; print([name for name in {heavy.split()!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert run.stdout.strip() == "[]"
