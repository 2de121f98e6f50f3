"""The device side without TensorFlow: here with the frameworks barred, and from the wheel in an empty environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FRAMEWORKS = ("tensorflow", "keras", "torch", "h5py", "matplotlib")
BAR = f"""
import os, sys

class Bar:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FRAMEWORKS!r}:
            with open(os.environ["BARRED_LOG"], "a") as log:
                log.write(name + "\\n")
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Bar())
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def model(assets: Path) -> Path:
    return assets / "tflite" / "mobilenet_v1_0.25_128_quant.tflite"


@pytest.fixture(scope="module")
def pictures(assets: Path, tmp_path_factory) -> Path:
    """Eight real images with their wnids."""
    folder = tmp_path_factory.mktemp("pictures")
    for path in sorted((assets / "imagenet-sample").iterdir())[:400:50]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture
def barred(run_edgekit, tmp_path):
    """`barred(*arguments)`: a command line that can import no framework, and the frameworks that it asked for."""
    (tmp_path / "sitecustomize.py").write_text(BAR)
    log = tmp_path / "barred.txt"

    def run(*arguments: object) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        log.write_text("")
        done = run_edgekit(*arguments, env={"PYTHONPATH": str(tmp_path), "BARRED_LOG": str(log)})
        return done, log.read_text().split()

    return run


def device_side(run: Run, model: Path, pictures: Path, folder: Path) -> None:
    """Every verb that a board needs, on a real file."""
    inspected = _json(run("inspect", model, "--json"))
    assert (inspected["macs"], len(inspected["operators"]), inspected["refused"]) == (13_570_304, 31, None)
    results = folder / "results.jsonl"
    (measured,) = _json(run("bench", model, "--protocol", "quick", "-o", results, "--json"))
    assert measured["artifact_sha256"] == inspected["sha256"]
    (judged,) = _json(run("eval", model, "--images", pictures, "-o", results, "--json"))
    assert judged["artifact_sha256"] == inspected["sha256"]
    assert len(results.read_text().splitlines()) == 2
    assert "squeezenet_v1_1" in {spec["name"] for spec in _json(run("models", "--json"))}
    assert _json(run("compare", results, "--json"))
    assert all(row["ok"] for row in _json(run("doctor", "--json")) if row["what"] in ("runtime", "delegate"))
    for text in (run("inspect", model), run("models"), run("compare", results)):
        assert (text.returncode, text.stderr) == (0, "")
        assert len(text.stdout.splitlines()) > 3


def _json(done: subprocess.CompletedProcess[str]):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.assets
def test_the_device_side_does_not_even_ask_for_a_framework(barred, model, pictures, tmp_path):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        done, asked = barred(*arguments)
        assert asked == [], arguments
        return done

    device_side(run, model, pictures, tmp_path)
    for arguments in (("--help",), ("inspect", "--help"), ("export", "--help")):
        assert run(*arguments).returncode == 0


def test_the_bar_holds(barred):
    done, asked = barred("models", "squeezenet_v1_1")
    assert done.returncode == 7
    assert "keras" in asked
    assert done.stderr == "edgekit: building a network needs Keras; run: pip install 'edgekit[export]'\n"


def test_exporting_without_the_export_stack_says_what_to_install(barred, tmp_path):
    done, _asked = barred("export", "squeezenet_v1_1", "--weights", "random", "-o", tmp_path)
    assert done.returncode == 7
    assert "pip install 'edgekit[export]'" in done.stderr
    assert list(tmp_path.glob("*.tflite")) == []


def test_quantizing_needs_no_framework(barred, tmp_path):
    """`barred` has no verb for it, so a script."""
    script = tmp_path / "quantize_one.py"
    script.write_text(
        "import sys\n"
        "from float_graphs import Net, noise\n"
        "from edgekit import quantize, recipe\n"
        "net = Net((1, 8, 8, 3))\n"
        "net.conv(0, 4, 3)\n"
        "quantize.quantize(net.done(), recipe.find('int8_fast'), noise(1, 8, 8, 3)).model\n"
        f"print([name for name in {FRAMEWORKS!r} if name in sys.modules])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT / "tests")))}
    environment["BARRED_LOG"] = str(tmp_path / "log")
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert not (tmp_path / "log").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "edgekit").rglob("*.py")}
    emulation = {f"edgekit/devices/emulated_pi/{path.name}" for path in (ROOT / "benchmarks/emulated_pi").glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources | emulation
    assert "edgekit/weights/assets.json" in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"edgekit"}


@pytest.mark.slow
@pytest.mark.assets
def test_the_wheel_serves_a_board_in_an_empty_environment(wheel, model, pictures, tmp_path, edgekit_environment):
    place = tmp_path / "board"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=60)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = ROOT / "constraints.txt"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", constraints, wheel]
    subprocess.run(list(map(str, install)), check=True, timeout=300)
    there = f"import importlib.util as u; print([name for name in {FRAMEWORKS!r} if u.find_spec(name)])"
    environment = {name: value for name, value in edgekit_environment.items() if name != "PYTHONPATH"}

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(place / "bin" / "edgekit"), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    found = subprocess.run([python, "-c", there], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    device_side(run, model, pictures, tmp_path)
