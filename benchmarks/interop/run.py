"""PyTorch's networks through both back ends, and one network through every way in, into results.json and RESULTS.md.

`python benchmarks/interop/run.py --images DIR` makes what is missing; `--check` says whether RESULTS.md is what the
stored results give. Each conversion runs in a process of its own, in the environment of its back end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))  # a script's own folder is on the path, but its package's parent is not

from quantization.environments import python_of  # noqa: E402

from interop import table  # noqa: E402

RESULTS, PAGE = HERE / "results.json", HERE / "RESULTS.md"
DECLARED = HERE / "networks.toml"
EMULATED = ("squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "resnet18")
_SECONDS = 1800


def main() -> int:
    """Runs what the results lack, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--images", type=Path, help="folder of images; the store's sample images if not given")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "interop", help="where models go")
    parser.add_argument("--only", help="one network, or 'agreement'")
    parser.add_argument("--check", action="store_true", help="fail if the page is not what the results give")
    given = parser.parse_args()
    if given.check:
        return _check()
    given.folder.mkdir(parents=True, exist_ok=True)
    pictures = given.images or _sample_images()
    results = _stored()
    declared = msgspec.toml.decode(DECLARED.read_bytes())
    for environment in declared["environments"]:
        python = _python(environment, given.folder / "environments")
        for network in declared["networks"]:
            if given.only in (None, network["name"]):
                row = _convert(python, network, environment["back_end"], pictures, given.folder)
                _keep(results, "conversions", row, ("network", "back_end"))
        if environment["back_end"] == "onnx2tf" and given.only in (None, "agreement"):
            results["agreement"] = _agreement(python, pictures, given.folder)
    _count_instructions(results, given.folder)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    PAGE.write_text(table.render(results), "utf-8")
    return 0


def _check() -> int:
    if PAGE.read_text("utf-8") == table.render(_stored()):
        return 0
    print(f"{PAGE.relative_to(ROOT)} is not what {RESULTS.name} gives; run benchmarks/interop/run.py")
    return 1


def _stored() -> dict[str, Any]:
    if not RESULTS.exists():
        return {"conversions": [], "agreement": None, "instructions": {}}
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


def _sample_images() -> Path:
    from edgekit import weights

    return weights.image_folder()


def _python(environment: dict[str, Any], folder: Path) -> Path:
    """The back end's environment: its packages, edgekit's own needs, and the networks' packages without theirs."""
    edgekit = ["-c", str(ROOT / "constraints.txt"), "-e", f"{ROOT}[export]"]
    python = python_of(environment["back_end"], [*environment["packages"], *edgekit], folder)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, *environment["alone"], "pyyaml"], check=True)
    return python


def _convert(python: Path, network: dict[str, str], back_end: str, pictures: Path, folder: Path) -> dict[str, Any]:
    name = network["name"]
    written = folder / f"{name}-{back_end}.json"
    written.unlink(missing_ok=True)
    print(f"{name} by {back_end}", flush=True)
    done = _run(python, "one.py", name, network["package"], back_end, str(pictures), str(folder))
    if not written.exists():
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"network": name, "package": network["package"], "back_end": back_end, "reason": lines[-1][:300]}
    row: dict[str, Any] = json.loads(written.read_text("utf-8"))
    return row


def _agreement(python: Path, pictures: Path, folder: Path) -> dict[str, Any]:
    print("squeezenet_v1_1 every way", flush=True)
    done = _run(python, "agreement.py", str(pictures), str(folder))
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads((folder / "agreement.json").read_text("utf-8"))
    return found


def _run(python: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join((str(ROOT), str(ROOT / "benchmarks")))
    environment = os.environ | {"PYTHONPATH": paths, "CUDA_VISIBLE_DEVICES": ""}
    command = [str(python), str(HERE / script), *arguments]
    return subprocess.run(
        command, env=environment, stdout=None, stderr=subprocess.PIPE, text=True, timeout=_SECONDS, check=False
    )


def _keep(results: dict[str, Any], kind: str, row: dict[str, Any], keys: tuple[str, ...]) -> None:
    rows = results[kind]
    rows[:] = [other for other in rows if any(other[key] != row[key] for key in keys)] + [row]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def _count_instructions(results: dict[str, Any], folder: Path) -> None:
    """Instructions of one inference on the emulated Cortex-A76, where its root has been made."""
    from edgekit import artifact as artifacts
    from edgekit import devices, measurement
    from edgekit.errors import EdgekitError

    files = [Path(model["path"]) for model in (results["agreement"] or {"models": []})["models"]]
    files += [folder / f"{name}-{end}-int8_fast.tflite" for name in EMULATED for end in ("onnx2tf", "litert-torch")]
    read = [artifacts.read(path) for path in files if path.exists()]
    wanted = [artifact for artifact in read if artifact.sha256 not in results["instructions"]]
    try:
        place: Any = devices.find("emulated:cortex-a76", None)
        counted = place.count(wanted, measurement.Session(_quick(), 1), lambda share: None) if wanted else []
    except EdgekitError as error:
        print(f"instructions were not counted: {error}")
        return
    for count in counted:
        results["instructions"][count.artifact_sha256] = count.instructions


def _quick() -> Any:
    from edgekit import bench

    return bench.find_protocol("quick")


if __name__ == "__main__":
    sys.exit(main())
