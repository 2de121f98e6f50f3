"""Writes what the Android app's tests on the JVM are held against: what edgekit itself makes of the same inputs.

    python tests/android/expected.py FOLDER

The folder then holds `models/` (exported here, if the zoo is not built), `images/` (decoded, as raw RGB) and one JSON
file per subject. Nothing in it is committed: it is made anew from edgekit as it is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace
from PIL import Image

from edgekit import artifact as artifacts
from edgekit import bench, evaluate, graph, images, profile, runtime, sampling, validity
from edgekit.artifact import Artifact
from edgekit.errors import MissingError
from edgekit.images import Preprocessor
from edgekit.measurement import Measurement, Session, read
from edgekit.meters import android
from edgekit.runtime import Array, Runner
from edgekit.spec import InputSpec, square

ROOT = Path(__file__).parents[2]
MODELS = ("squeezenet_v1_1", "mobilenet_v1_025")
RECIPES = ("int8", "int8_fast", "int8_float_io")
IMAGES = 100
SIZES = (
    (1, 5000),
    (5000, 1),
    (3, 7),
    (224, 224),
    (256, 256),
    (481, 641),
    (640, 480),
    (1280, 720),
    (30, 9000),
    (999, 37),
)
SPECS = (square(224), InputSpec(227, 227, 256), InputSpec(20, 30, 40))
BLACK_EDGED = InputSpec(60, 60, 40)


def main(folder: Path) -> None:
    """Writes all of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models = list(_models(folder / "models"))
    sources = images.evenly_spaced(images.list_images(_assets() / "imagenet-sample"), IMAGES)
    _write(folder, "images", [_decoded(folder / "images", number, path) for number, path in enumerate(sources)])
    _write(folder, "answers", [_answers(folder, artifact, sources) for artifact in models])
    _write(folder, "prefixes", [_prefix(folder, artifact) for artifact in models])
    _write(folder, "request", _request())
    _write(folder, "protocols", json.loads(msgspec.json.encode(bench.PROTOCOLS)))
    _write(folder, "crops", list(_crops(folder)))
    _write(folder, "statistics", [_statistics(record) for record in _records()])
    _write(folder, "verdicts", [_verdict(record) for record in _mutated(_records()[0])])
    _write(folder, "batteries", [_battery(readings) for readings in _readings()])


def _write(folder: Path, name: str, value: object) -> None:
    (folder / f"{name}.json").write_text(json.dumps(value, separators=(",", ":")))


def _assets() -> Path:
    return Path(os.environ["EDGEKIT_ASSETS"]).resolve()


def _models(folder: Path) -> Iterator[Artifact]:
    """Those of the zoo; else what the app is built with, and networks exported here by the recipe that takes least."""
    folder.mkdir()
    for path in sorted((ROOT / "build" / "zoo").glob("*.tflite")):
        if path.name.startswith(MODELS) and path.stem.rpartition("-")[2] in RECIPES:
            shutil.copy(path, folder)
    if not any(folder.iterdir()):
        command = [sys.executable, "-m", "edgekit", "export", *MODELS, "--recipe", "int8_fast", "-o", folder]
        subprocess.run(command, check=True)
        for path in (ROOT / "android_demo" / "app" / "src" / "main" / "assets" / "models").glob("*.tflite"):
            shutil.copy(path, folder)
    return map(artifacts.read, sorted(folder.glob("*.tflite")))


def _decoded(folder: Path, number: int, path: Path) -> dict[str, object]:
    """The picture as Pillow decodes it, for what follows decoding to be compared by itself."""
    folder.mkdir(exist_ok=True)
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    (folder / f"{number}.rgb").write_bytes(image.tobytes())
    return {"path": str(path), "width": image.width, "height": image.height}


def _answers(folder: Path, artifact: Artifact, sources: list[Path]) -> dict[str, object]:
    """Crops, inputs and outputs of all images, one after the other in one file each, and the five best classes."""
    assert artifact.card is not None
    spec, runner = artifact.card.input, Runner(artifact.path.read_bytes())
    preprocess = Preprocessor(spec, runner.input)
    crops = [images.crop(path.read_bytes(), spec) for path in sources]
    inputs = [preprocess(crop) for crop in crops]
    outputs = [runner.run(values) for values in inputs]
    for name, arrays in (("crops", crops), ("inputs", inputs), ("outputs", outputs)):
        (folder / f"{artifact.name}.{name}").write_bytes(b"".join(values.tobytes() for values in arrays))
    return {
        "model": artifact.name,
        "card": json.loads(msgspec.json.encode(artifact.card)),
        "labels": artifact.labels,
        "sha256": artifact.sha256,
        "runtime": " ".join(runtime.version()),
        "top5": [_best(runner, values, artifact.card.output) for values in outputs],
    }


def _request() -> object:
    """What `edgekit bench --device adb:` asks (docs/android-contract.md), with places to be filled in."""
    asked = {
        "id": "{id}",
        "model": "{model}",
        "sha256": "{sha256}",
        "name": 'a name, "quoted"',
        "session": Session(bench.QUICK, threads=1, meter="none"),
    }
    return json.loads(msgspec.json.encode(asked))


def _prefix(folder: Path, artifact: Artifact) -> dict[str, object]:
    """The network up to its first MEAN, or all of it, and what that answers to the same inputs."""
    parsed = graph.load(artifact.path.read_bytes())
    kinds = [operator.kind for operator in parsed.operators]
    kept = kinds.index("MEAN") if "MEAN" in kinds else len(kinds)
    content = profile.cut(parsed, kept - 1)
    name, runner = f"{artifact.name}-{kept}", Runner(content)
    inputs = np.fromfile(folder / f"{artifact.name}.inputs", runner.input.dtype).reshape(IMAGES, *runner.input.shape)
    (folder / "prefixes").mkdir(exist_ok=True)
    (folder / "prefixes" / f"{name}.tflite").write_bytes(content)
    outputs = b"".join(runner.run(values).tobytes() for values in inputs)
    (folder / "prefixes" / f"{name}.outputs").write_bytes(outputs)
    return {"prefix": name, "model": artifact.name, "operators": kept, "of": len(kinds)}


def _best(runner: Runner, output: Array, kind: str) -> list[list[float]]:
    values = evaluate.probabilities(runner.output.dequantize(output), kind).reshape(-1)
    order = np.argsort(-values, kind="stable")[:5]
    return [[int(number), float(values[number])] for number in order]


def noise(width: int, height: int) -> Array:
    """(height, width, 3) uint8, which the tests on the JVM make anew from the same formula."""
    numbers = np.arange(width * height, dtype=np.uint32)
    numbers = (numbers ^ (numbers >> np.uint32(7))) * np.uint32(2654435761)
    packed = numbers >> np.uint32(8)
    return (
        np.stack([packed >> np.uint32(shift) & np.uint32(255) for shift in (16, 8, 0)], axis=-1)
        .astype(np.uint8)
        .reshape(height, width, 3)
    )


def _crops(folder: Path) -> Iterator[dict[str, object]]:
    """Noise of every size and orientation, cropped."""
    cases = [(size, spec, 1) for size in SIZES for spec in SPECS]
    cases += [((101, 67), spec, exif) for spec in SPECS for exif in range(1, 9)]
    cases += [((67, 9001), SPECS[0], exif) for exif in range(1, 9)]
    cases += [((50, 70), BLACK_EDGED, exif) for exif in (1, 6)]
    with (folder / "crops.bin").open("wb") as file:
        for (width, height), spec, exif in cases:
            image = _upright(Image.fromarray(noise(width, height)), exif)
            cropped = np.asarray(images._resized_crop(image, spec))
            file.write(cropped.tobytes())
            fields = {"height": spec.height, "width": spec.width, "resize_shorter": spec.resize_shorter}
            yield {"width": width, "height": height, "exif": exif, "spec": fields}


def _upright(image: Image.Image, exif: int) -> Image.Image:
    """As Pillow's ImageOps.exif_transpose has it."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return image.transpose(turns[exif]) if exif in turns else image


def _records() -> list[Measurement]:
    """Measurements of real machines that this repository keeps, with raw latencies."""
    found = [record for path in sorted((ROOT / "benchmarks" / "results").rglob("*.jsonl")) for record in read([path])]
    timed = [record for record in found if isinstance(record, Measurement) and record.latency_ns and record.states]
    return timed[:: max(1, len(timed) // 12)][:12]


def _statistics(record: Measurement) -> dict[str, object]:
    drift = sampling.drift(record.latency_ns)
    assert drift is not None
    values = np.asarray(record.latency_ns, np.float64)
    shares = [0.0, 0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 1.0]
    precision = validity.median_precision(record)
    return {
        "line": json.loads(msgspec.json.encode(record)),
        "quantiles": [[share, float(np.quantile(values, share))] for share in shares],
        "change": drift.change,
        "p_value": drift.p_value,
        "precision": precision,
    }


def _verdict(record: Measurement) -> dict[str, object]:
    verdict = validity.judge(record)
    return {
        "line": json.loads(msgspec.json.encode(record)),
        "word": verdict.word,
        "reasons": verdict.reasons,
        "notes": verdict.notes,
    }


def _mutated(real: Measurement) -> Iterator[Measurement]:
    """One session after another with something wrong in it."""
    first, *middle, last = real.states
    yield real
    yield replace(real, states=())
    yield replace(real, warmup=replace(real.warmup, stable=False))
    yield replace(real, probe=replace(real.probe, after_ns=tuple(ns * 105 // 100 for ns in real.probe.after_ns)))
    yield replace(real, probe=replace(real.probe, after_ns=tuple(ns * 85 // 100 for ns in real.probe.after_ns)))
    length = len(real.latency_ns)
    yield replace(real, latency_ns=tuple(ns + ns * 8 * i // length // 100 for i, ns in enumerate(real.latency_ns)))
    yield replace(real, latency_ns=tuple(ns * (2 + i // 17 % 2) for i, ns in enumerate(real.latency_ns)))
    yield replace(real, protocol=replace(real.protocol, max_runs=10, min_seconds=1e6))
    for changes in (
        {"frequency_limit_khz": 1_200_000},
        {"frequency_khz": 1_000_000},
        {"governor": "powersave"},
        {"power_source": "battery"},
        {"slept_ns": (last.slept_ns or 0) + 10**9},
        {"swap_used_bytes": (last.swap_used_bytes or 0) + 10**8},
        {"clock_offset_ns": last.clock_offset_ns + 3 * 10**9},
        {"busy_s": (last.busy_s or 0.0) + 0.3 * (last.at_s - first.at_s)},
        {"busy_s": (last.busy_s or 0.0) + 3 * (last.at_s - first.at_s)},
        {"stolen_s": (last.stolen_s or 0.0) + 0.2 * (last.at_s - first.at_s)},
        {"thermal_status": 1},
        {"thermal_status": 3},
        {"foreground": False},
        {"power_save": True},
    ):
        watched = [
            replace(s, frequency_khz=2_000_000, frequency_limit_khz=2_000_000, governor="schedutil") for s in middle
        ]
        before, during, after = watched[0], watched[1:-1], watched[-1]
        yield replace(real, states=(first, before, *during, replace(after, **changes), replace(last, **changes)))


def _readings() -> Iterator[list[android.Reading]]:
    """What batteries of different makers tell in 20 seconds, once a second; some of it is of no use."""
    base = android.Reading(0, False, 3900, -412_000, 2_900_000, None)
    each = [
        dataclasses.replace(base, time_ns=i * 10**9, current=-412_000 - 997 * i, charge_counter=2_900_000 - i // 7)
        for i in range(21)
    ]
    yield each
    yield [dataclasses.replace(item, current=-(item.current or 0) // 1000) for item in each]
    yield [dataclasses.replace(item, charge_counter=2_900_000 - 115 * i) for i, item in enumerate(each)]
    yield [dataclasses.replace(item, charge_counter=2_900_000 - 115 * (i // 3)) for i, item in enumerate(each)]
    yield [dataclasses.replace(item, energy_counter=11_000_000_000 - 450_000 * i) for i, item in enumerate(each)]
    yield [dataclasses.replace(item, voltage=3_900_000, charge_counter=None) for item in each]
    yield [dataclasses.replace(item, plugged=i == 7) for i, item in enumerate(each)]
    yield [dataclasses.replace(item, current=None, charge_counter=None) for item in each]
    yield [dataclasses.replace(item, current=0) for item in each]
    yield [
        dataclasses.replace(item, current=-(item.current or 0) if i == 3 else item.current)
        for i, item in enumerate(each)
    ]
    yield [dataclasses.replace(item, current=7) for item in each]
    yield [dataclasses.replace(item, current=-412_000) for item in each]
    yield [dataclasses.replace(item, voltage=12, charge_counter=None) for item in each]
    yield [dataclasses.replace(item, charge_counter=2_900_000 - 11_500 * (i // 3)) for i, item in enumerate(each)]
    yield each[:1]


def _battery(readings: list[android.Reading]) -> dict[str, object]:
    answer: dict[str, object] = {"readings": [dataclasses.asdict(reading) for reading in readings]}
    try:
        found = android.discharge(readings)
    except MissingError as error:
        return {**answer, "refused": str(error)}
    return {**answer, "window": dataclasses.asdict(found.window), "by": found.by}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
