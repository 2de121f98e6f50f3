"""onnx2tf's environment: pinned to the last byte, there or not there, and gone when asked."""

from __future__ import annotations

import re
import sys
from importlib import resources

import pytest

from edgekit import cli
from edgekit.errors import MissingError
from edgekit.interop import environment


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "home", lambda: tmp_path / "interop")


def silent(stage: str, done: int, of: int) -> None:
    pass


def test_every_package_is_pinned_with_hashes():
    text = resources.files("edgekit.interop").joinpath(environment.PINS).read_text("utf-8")
    entries = re.split(r"\n(?=[a-z])", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==[\w.]+( ; .*)? \\", entry), entry.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]
    assert any(entry.startswith("onnx2tf==1.29.24 ") for entry in entries)
    assert "http" not in text


@pytest.mark.slow
def test_without_a_package_index_nothing_is_left(monkeypatch):
    if sys.version_info[:2] not in environment.PYTHONS:
        pytest.skip("its packages exist for Python 3.10 and 3.11")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(
        MissingError, match=r"cannot set up the environment for ONNX.*nothing was left behind"
    ) as caught:
        environment.python(silent)
    assert "\n" not in str(caught.value)
    assert not environment.is_ready()
    assert not environment.place().exists()


def test_a_half_made_one_is_none_and_is_made_anew(monkeypatch):
    half = environment.place()
    half.mkdir(parents=True)
    made = []
    monkeypatch.setattr(environment, "_make", lambda folder, interpreter, progress: made.append(folder))
    environment.python(silent)
    assert made == [half]
    (half / "ready").write_text("")
    environment.python(silent)
    assert made == [half]


def test_other_pythons_are_told_what_to_install(monkeypatch):
    monkeypatch.setattr(environment, "PYTHONS", ((3, 99),))
    with pytest.raises(MissingError, match=r"Python 3\.10 and 3\.11; this is .* install python3\.11 beside it"):
        environment.python(silent)


def test_status_and_removal_by_command(capsys):
    assert cli.run(["interop"]) == 0
    assert "not set up; the first .onnx file sets it up" in " ".join(capsys.readouterr().out.split())
    old, new = environment.home() / "onnx2tf-old", environment.place()
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "ready").write_text("")
    assert cli.run(["interop", "status", "--json"]) == 0
    assert '"ready":true' in capsys.readouterr().out
    assert cli.run(["interop", "remove"]) == 0
    assert not old.exists() and not new.exists()
    assert cli.run(["interop", "remove"]) == 0
    assert "there was none" in capsys.readouterr().out
    assert cli.run(["interop", "destroy"]) == 4
