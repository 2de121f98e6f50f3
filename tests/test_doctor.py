"""What the doctor finds here, and that it speaks where things are missing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edgekit import doctor

WHAT = ["Python", "runtime", "delegate", "processor", "governor", "energy meter", "export stack", "assets"]


@pytest.fixture
def without(run_edgekit, tmp_path):
    """`without(*modules)`: the findings, by what they are about, where these modules cannot be imported."""

    def examine(*modules):
        for name in modules:
            (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name} here', name='{name}')\n")
        done = run_edgekit("doctor", "--json", env={"PYTHONPATH": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        return {row["what"]: row for row in json.loads(done.stdout)}

    return examine


def test_this_machine():
    found = {finding.what: finding for finding in doctor.examine()}
    assert list(found) == WHAT
    assert found["Python"].found == sys.version.split()[0]
    assert found["runtime"].ok
    assert found["runtime"].found.split()[0] in ("ai-edge-litert", "tflite-runtime")
    assert found["delegate"] == doctor.Finding("delegate", True, "XNNPACK", found["delegate"].remedy)
    assert "core" in found["processor"].found
    for finding in found.values():
        assert finding.ok or finding.remedy


def test_nothing_heavy_is_imported():
    code = "import sys; from edgekit import doctor; doctor.examine(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "h5py", "torch", "PIL"} & set(done.stdout.split())


def test_without_a_runtime(without):
    found = without("ai_edge_litert", "tflite_runtime")
    assert not found["runtime"]["ok"]
    assert "pip install ai-edge-litert" in found["runtime"]["remedy"]
    assert not found["delegate"]["ok"]
    assert found["processor"]["ok"]
    assert found["assets"]["found"]


def test_without_the_export_stack(monkeypatch):
    monkeypatch.setattr(doctor, "_EXPORT_STACK", ("numpy", "no-such-package"))
    found = {finding.what: finding for finding in doctor.examine()}["export stack"]
    assert found == doctor.Finding("export stack", False, "without no-such-package", "pip install 'edgekit[export]'")


def test_an_asset_folder_that_is_empty(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKIT_ASSETS", str(tmp_path))
    found = doctor.examine()[-1]
    assert not found.ok
    assert found.found.startswith("0 of ")
    assert str(tmp_path) in found.found


def test_a_cache_that_is_empty(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEKIT_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = doctor.examine()[-1]
    assert found.ok
    assert "what is missing is downloaded" in found.found


@pytest.mark.assets
def test_the_assets_are_all_there(assets, monkeypatch):
    monkeypatch.setenv("EDGEKIT_ASSETS", str(assets))
    found = doctor.examine()[-1]
    assert found.ok
    there, _of, total, *_rest = found.found.split()
    assert there == total
