"""The command line: one verb per function, heavy imports inside; the only file of the package that prints."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from edgekit import __version__
from edgekit.errors import DataError, EdgekitError, FileFormatError, OutputError, QualityError, UsageError

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.compare import Comparison, Listed, Row
    from edgekit.compress.shrink import Wish
    from edgekit.devices import Device
    from edgekit.devices.app import App
    from edgekit.devices.emulated import Emulated
    from edgekit.evaluate import Subject
    from edgekit.export import Samples, Trained
    from edgekit.export.compressed import Compressed
    from edgekit.fidelity import Audit, Histogram
    from edgekit.fidelity import Layer as AuditedLayer
    from edgekit.foreign import Preprocessing
    from edgekit.measurement import Instructions, Measurement, Quality, Session
    from edgekit.quantize import Quantized
    from edgekit.recipe import Recipe
    from edgekit.report.details import Detail
    from edgekit.spec import InputSpec, ModelSpec

EXIT_CODES = (
    "Exit codes: 0 done, 1 a bug, 2 arguments, 3 unreadable file, 4 unknown name, 5 weights do not fit, 6 images or "
    "labels, 7 something is not installed or not reachable, 8 cannot write, 9 the runtime crashed, 10 quality below "
    "the limit, 130 Ctrl-C."
)
_TRIAL_S = 120.0
_AUDIT_S = 1800.0
app = typer.Typer(
    name="edgekit",
    help="Small vision networks as int8 TFLite models that can be trusted, measured where they run.",
    epilog=f"{EXIT_CODES} --debug shows the traceback of an error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich help doubles the time that --help takes
    context_settings={"help_option_names": ["-h", "--help"]},
)

android = typer.Typer(
    help="The demo app on a phone: put models into it, let it measure, fetch what it measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(android, name="android")

_PLACES = "local, ssh://USER@HOST, adb:SERIAL, app:SERIAL, emulated:cortex-a76."
Where = Annotated[
    str,
    typer.Option("--device", metavar="WHERE", help=_PLACES),
]
Phone = Annotated[
    str, typer.Option("--device", metavar="adb:SERIAL", help="The phone; not needed while only one is connected.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines in place of tables.")]
InputSize = Annotated[int | None, typer.Option("--input-size", metavar="PX", help="Height and width of the input.")]
Classes = Annotated[int | None, typer.Option(help="How many classes, if not the network's own.")]
Settings = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="An option of the architecture.")]
Images = Annotated[Path | None, typer.Option(help="Folder of images; the 500 sample images if not given.")]


def run(arguments: Sequence[str]) -> int:
    """Runs one command line; an EdgekitError becomes one line on stderr and its exit code."""
    debug = "--debug" in arguments
    if not sys.warnoptions and not debug:
        warnings.simplefilter("ignore")  # libraries' advice to programmers
    try:
        app([argument for argument in arguments if argument != "--debug"], prog_name="edgekit")
    except EdgekitError as error:
        if debug:
            traceback.print_exc()
        print(f"edgekit: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        print(f"edgekit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Options before the verb."""


@app.command(epilog="\b\nExample: edgekit models squeezenet_v1_1 --input-size 160")
def models(
    name: Annotated[str | None, typer.Argument(help="One network, layer by layer.")] = None,
    input_size: InputSize = None,
    classes: Classes = None,
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """List every network, or show one layer by layer as the papers' tables do."""
    from edgekit import convert, screens
    from edgekit import models as networks

    if name is None:
        specs = networks.specs()
        _show(specs, lambda: screens.model_list(specs), as_json)
        return
    spec = networks.find(name, classes=classes, input_size=input_size, options=_settings(settings))
    convert.import_keras()
    layers = networks.layer_table(networks.outline(spec))
    _show({"model": spec, "layers": layers}, lambda: screens.layer_list(spec, layers), as_json)


@app.command(
    epilog="\b\nExample: edgekit export squeezenet_v1_1 --recipe int8 --recipe float32 -o out"
    "\nExample: edgekit export checkpoint.pth --model squeezenet_v1_1 --calibration images/ -o out"
    "\nExample: edgekit export model.onnx --mean 123.675,116.28,103.53 --std 58.395,57.12,57.375"
)
def export(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Names from 'edgekit models', float .tflite or .onnx files, or PyTorch weights (with --model).",
        ),
    ],
    recipes: Annotated[
        list[str], typer.Option("--recipe", "-r", metavar="RECIPE", help="See edgekit/recipe.py; may be repeated.")
    ] = ["int8"],  # noqa: B006
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE|random", help="Trained weights; the pretrained ones of the store if not given."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Images that set activation ranges; the sample images if not given."),
    ] = None,
    calibration_images: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many of them, evenly spaced in sorted order.")
    ] = 100,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Class names, one a line.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the files go.")] = Path(),
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network that .pth or .safetensors weights are for.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", help="tflite, or onnx, torch or safetensors for other runtimes, in float32.")
    ] = "tflite",
    max_transposes: Annotated[
        int, typer.Option(min=0, metavar="N", help="Refuse an ONNX file that needs more operators to move values.")
    ] = 4,
    channels: Annotated[str, typer.Option(help="RGB or BGR, for files without a card.")] = "RGB",
    mean: Annotated[str | None, typer.Option(help="On 0..255, one value or three, for files without a card.")] = None,
    std: Annotated[str | None, typer.Option(help="As --mean.")] = None,
    least_agreement: Annotated[
        float,
        typer.Option(min=0, max=100, metavar="PERCENT", help="Refuse a model that agrees less with its float form."),
    ] = 80.0,
    allow_degraded: Annotated[bool, typer.Option("--allow-degraded", help="Write it all the same.")] = False,
    compressed: Annotated[
        bool, typer.Option("--compressed", help="Write .ekz: weights chosen for few bytes, as 'edgekit compress' does.")
    ] = False,
    target_agreement: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, metavar="PERCENT", help="Keep as many operators in int16 or float as this agreement takes."
        ),
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option(min=1, metavar="RATIO", help="For --target-agreement: how much slower it may get.")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw every layer's range and error, as a page of pictures.")
    ] = None,
    input_size: InputSize = None,
    classes: Classes = None,
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Turn networks, ONNX, PyTorch weights or any float .tflite into .tflite: load, convert, quantize, check, write."""
    from edgekit import export as exports
    from edgekit import foreign, screens

    chosen, said = _recipes(recipes), foreign.Preprocessing(channels, mean, std)
    of_networks = {"--weights": weights, "--classes": classes, "--set": settings, "--input-size": input_size}
    _check_options(names, [option for option, value in of_networks.items() if value not in (None, [])], said, model)
    sources = _distinct([_source(name, model or "", weights, input_size, classes, settings) for name in names])
    asked = _Asked(weights, said, _read_labels(labels), calibration, input_size, max_transposes)
    if kind != "tflite":
        _export_float(kind, names, sources, asked, output)
        return
    calibrated = any(recipe.needs_calibration for recipe in chosen)
    _check_images(calibration if calibrated else None)
    made: list[Artifact] = []
    try:
        with _bars() as bars:
            for name, source in zip(names, sources, strict=True):
                progress = bars(name)
                trained = _prepared(name, source, asked, bars, progress)
                _warn(trained.warnings)
                folder = (calibration or _sample_images(bars)) if calibrated else None
                samples = _samples(folder, trained, calibration_images, progress)
                limit = 0.0 if allow_degraded else least_agreement / 100
                draw = _explainer(explain, progress) if explain else None
                for recipe in chosen:
                    if compressed and recipe.activations == "int8" and samples is not None:
                        found = _compress(trained, recipe, _packed_path(output, trained, recipe), samples, progress)
                        made.append(found.artifact)
                        continue
                    suited = _mixed(trained, recipe, samples, target_agreement, time_budget, progress)
                    made.append(exports.export(trained, suited, output, samples, progress, limit, draw))
    finally:  # what was written before an error stays there, so it is shown
        if made:
            _show([_summary(artifact) for artifact in made], lambda: screens.exported(made), as_json)


@app.command(
    epilog="\b\nExample: edgekit compress squeezenet_v1_1 --max-drop 0.5 -o squeezenet.ekz"
    "\nExample: edgekit compress mine-float32.tflite --target 400KB --images photos -o mine.ekz"
    "\nExample: edgekit compress finished-int8.tflite -o finished.ekz"
)
def compress(
    name: Annotated[
        str | None,
        typer.Argument(metavar="MODEL|FILE", help="A network, a float .tflite, or any file to pack as it is."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="SIZE", help="At most so many bytes: 400KB, 0.5MB, 350000.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(min=0.01, metavar="POINTS", help="What top-1 may lose; 0.5 if nothing is said.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images that weigh errors; the sample images if not given.")
    ] = None,
    count: Annotated[int, typer.Option("--calibration-images", min=1, help="How many of them, evenly spaced.")] = 100,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.ekz")] = None,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="int8, int8_full or int8_float_io.")] = "int8",
    weights: Annotated[str | None, typer.Option(metavar="FILE", help="As in export.")] = None,
    lossless: Annotated[bool, typer.Option("--lossless", help="Pack the file as it is, even a float one.")] = False,
    least_agreement: Annotated[float, typer.Option(min=0, max=100, metavar="PERCENT", help="As in export.")] = 80.0,
    table: Annotated[bool, typer.Option("--table", help="Print the papers' tables with ours beside them.")] = False,
    as_json: Json = False,
) -> None:
    """Make a small download of a model: weights chosen for few bytes on the int8 grid, then entropy-coded."""
    from edgekit import export as exports
    from edgekit import recipe as recipes
    from edgekit import screens

    if table:
        from edgekit.compress import papers

        tables = papers.tables(Path(weights) if weights else None)
        _show(tables, lambda: screens.papers(tables), as_json)
        return
    if name is None:
        raise UsageError("name a network or a file to compress, or ask for the papers' tables with --table")
    if lossless or (Path(name).is_file() and not _is_float_model(Path(name))):
        if target or max_drop:
            raise UsageError(f"{name} is packed without loss; --target and --max-drop are for float models")
        from edgekit.export import compressed

        path = output or Path(f"{Path(name).stem}.ekz")
        done = compressed.pack_file(Path(name), path)
        _show(_packed_summary(done), lambda: screens.compressed(done), as_json)
        return
    wish = _wish(target, max_drop)
    chosen = recipes.find(recipe)
    source = _source(name, "", weights, None, None, [])
    _check_images(images)
    with _bars() as bars:
        progress = bars(name)
        if isinstance(source, Path):
            trained = exports.from_tflite(source, progress=progress)
        else:
            trained = exports.prepare(source, weights, (), progress)
        samples = _samples(images or _sample_images(bars), trained, count, progress)
        assert samples is not None
        path = output or _packed_path(Path(), trained, chosen)
        found = _compress(trained, chosen, path, samples, progress, wish, least_agreement / 100)
    _show(_packed_summary(found), lambda: screens.compressed(found), as_json)


@app.command(epilog="\b\nExample: edgekit decompress squeezenet.ekz -o squeezenet.tflite")
def decompress(
    file: Annotated[Path, typer.Argument(metavar="FILE.ekz")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Unpack an .ekz to the very bytes that were compressed, and check their hash."""
    from edgekit.compress import unpacking

    header = unpacking.read_header(file)
    target = output or file.with_suffix(f".{header.kind}")
    unpacking.unpack_file(file, target)
    found = {"path": str(target), "sha256": header.sha256, "size_bytes": header.size_bytes}
    _show(found, lambda: f"{target}: {header.size_bytes} bytes, sha256 {header.sha256}", as_json)


def _wish(target: str | None, max_drop: float | None) -> Wish:
    from edgekit.compress.shrink import Wish

    if target is not None and max_drop is not None:
        raise UsageError("--target and --max-drop are two wishes; give one")
    return Wish(_bytes(target) if target else None, max_drop or 0.5)


def _bytes(text: str) -> int:
    """A size as people write it: 400KB and 400k are 400,000 bytes, 1 KiB is 1024."""
    import re

    units = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": 1 << 20}
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *([a-z]*)", text.strip().lower())
    if found is None or found[2] not in units or float(found[1]) <= 0:
        raise UsageError(f"--target takes a size such as 400KB or 0.5MB; got {text!r}")
    return round(float(found[1]) * units[found[2]])


def _is_float_model(path: Path) -> bool:
    """Whether a file is a float .tflite, whose weights may be chosen; anything else is packed as it is."""
    from edgekit import artifact as artifacts
    from edgekit import isolate
    from edgekit.compress import layout

    try:
        content = artifacts.read_model(path)
        return isolate.call(str(path), _TRIAL_S, layout.is_float, content)
    except EdgekitError:
        return False


def _packed_path(folder: Path, trained: Trained, recipe: Recipe) -> Path:
    return folder / f"{trained.stem}-{recipe.name}.ekz"


def _compress(
    trained: Trained,
    recipe: Recipe,
    path: Path,
    samples: Samples,
    progress: Callable[[str, int, int], None],
    wish: Wish | None = None,
    least_agreement: float = 0.8,
) -> Compressed:
    """The float model as an .ekz; what is found on the way is kept until it is written."""
    import platformdirs

    from edgekit import export as exports
    from edgekit.compress import shrink
    from edgekit.export import compressed

    def finish(quantized: Quantized, file: Path) -> Artifact:
        return exports.export(trained, recipe, file.parent, samples, progress, least_agreement, None, quantized, file)

    cache = Path(platformdirs.user_cache_dir("edgekit")) / "compress"
    asked = wish or shrink.Wish()
    return compressed.compress(trained, recipe, path, samples, asked, least_agreement, finish, progress, cache)


def _packed_summary(found: Compressed) -> dict[str, object]:
    return {
        "path": str(found.artifact.path),
        "sha256": found.artifact.sha256,
        "download_bytes": found.download_bytes,
        "int8_bytes": found.int8_bytes,
        "float_bytes": found.float_bytes,
        "others": found.others,
        "sections": found.sections,
        "attempts": found.attempts,
        "layers": found.layers,
        "card": found.artifact.card,
    }


class _Asked(NamedTuple):
    """What `export` was told about the float models that it starts from."""

    weights: str | None
    said: Preprocessing
    labels: tuple[str, ...]
    pictures: Path | None
    input_size: int | None
    max_transposes: int


def _prepared(
    name: str,
    source: Path | ModelSpec,
    asked: _Asked,
    bars: Callable[[str], Callable[[str, int, int], None]],
    progress: Callable[[str, int, int], None],
) -> Trained:
    """The float model that an argument of `export` means."""
    from edgekit import export as exports

    if not isinstance(source, Path):
        given = name if exports.is_checkpoint(name) else asked.weights
        return exports.prepare(source, given, asked.labels, progress, asked.said)
    if not exports.is_onnx(name):
        return exports.from_tflite(source, asked.said, asked.labels, progress)
    return exports.from_onnx(
        source,
        asked.said,
        asked.labels,
        progress,
        pictures=asked.pictures or _sample_images(bars),
        input_size=asked.input_size,
        max_transposes=asked.max_transposes,
    )


def _export_float(
    kind: str, names: Sequence[str], sources: Sequence[Path | ModelSpec], asked: _Asked, output: Path
) -> None:
    """Writes float models for other runtimes, and prints their paths."""
    from edgekit import export as exports
    from edgekit.errors import UnknownNameError

    if kind not in ("onnx", "torch", "safetensors"):
        raise UnknownNameError.among("format", kind, ("tflite", "onnx", "torch", "safetensors"))
    with _bars() as bars:
        for name, source in zip(names, sources, strict=True):
            progress = bars(name)
            if kind == "onnx":
                trained = _prepared(name, source, asked, bars, progress)
                _warn(trained.warnings)
                written = exports.to_onnx(trained, output, progress)
            elif isinstance(source, Path):
                raise UsageError(f"--format {kind} writes the weights of a network of edgekit's; {name} is a file")
            else:
                given = name if exports.is_checkpoint(name) else asked.weights
                written = exports.to_state_dict(source, kind, output, given, progress)
            print(written)


@app.command(epilog="\b\nExample: edgekit interop setup")
def interop(
    action: Annotated[str, typer.Argument(metavar="[status|setup|remove]", help="What to do with it.")] = "status",
    as_json: Json = False,
) -> None:
    """Show, set up or remove the environment in which onnx2tf converts ONNX; `export` sets it up by itself."""
    from edgekit.errors import UnknownNameError
    from edgekit.interop import environment

    if action == "remove":
        removed = [str(path) for path in environment.remove()]
        _show({"removed": removed}, lambda: f"removed {', '.join(removed) or 'nothing: there was none'}", as_json)
        return
    if action not in ("status", "setup"):
        raise UnknownNameError.among("action", action, ("status", "setup", "remove"))
    if action == "setup":
        with _bars() as bars:
            environment.python(bars("interop"))
    place, ready = environment.place(), environment.is_ready()
    size = environment.size_bytes(place) if ready else 0
    state = f"ready, {size / 1e9:.1f} GB" if ready else "not set up; the first .onnx file sets it up"
    _show({"place": place, "ready": ready, "size_bytes": size}, lambda: f"{place}: {state}", as_json)


@app.command(epilog="\b\nExample: edgekit inspect squeezenet_v1_1-224-int8.tflite --tensors")
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE.tflite", help="Any .tflite, ours or not.")],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor with its quantization.")] = False,
    errors: Annotated[
        Path | None,
        typer.Option(metavar="FLOAT.tflite", help="Show the noise of every layer against this float model."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="For --errors; the sample images if not given.")] = None,
    count: Annotated[int, typer.Option(min=1, help="For --errors: how many images, evenly spaced.")] = 100,
    node_data: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="For --errors: write node data for Model Explorer.")
    ] = None,
    channels: Annotated[str, typer.Option(help="For --errors, as in eval: where neither file has a card.")] = "RGB",
    mean: Annotated[str | None, typer.Option(help="As --channels.")] = None,
    std: Annotated[str | None, typer.Option(help="As --channels.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a .tflite is made of and check its golden vector, or compare it with its float form layer by layer."""
    from edgekit import inspection

    if errors is not None:
        from edgekit import foreign

        found = _audit(file, errors, images, count, foreign.Preprocessing(channels, mean, std))
        _show_audit(found, file, errors, node_data, as_json)
        return
    if images or node_data:
        raise UsageError("--images and --node-data belong to --errors FLOAT.tflite; give the float model as well")
    finish = inspection.start(file)
    from edgekit import screens  # while the other process works

    result = finish()
    _show(result, lambda: screens.inspected(result, tensors), as_json)
    if result.golden is not None and not result.golden.passed:
        raise QualityError(f"{file}: the golden vector fails here: {result.golden.detail}")


def _audit(file: Path, reference: Path, folder: Path | None, count: int, said: Preprocessing) -> Audit:
    """Holds a quantized file against its float form, in a child process: a damaged file may crash the runtime."""
    from edgekit import artifact as artifacts
    from edgekit import audit as audits
    from edgekit import bench, isolate
    from edgekit import images as pictures
    from edgekit.evaluate import Subject

    read = [artifacts.read(path) for path in (reference, file)]
    for artifact in read:
        isolate.call(str(artifact.path), _TRIAL_S, bench.cold_start, artifact)
    specs = _input_specs(read, said)
    models = [artifacts.read_model(artifact.path) for artifact in read]
    with _bars() as bars:
        subjects = [Subject(*pair) for pair in zip(read, specs, strict=True)]
        unseen = _unseen(pictures.list_images(folder or _sample_images(bars)), subjects)
        paths, samples = _decoded(pictures.evenly_spaced(unseen, count), specs, bars(file.name))
        others = None if specs[0] == specs[1] else samples[1]
        truths = _truths(paths, read[0])
        bars("layer by layer")
        given = (samples[0], None, others, None, truths)
        try:
            return isolate.call(str(file), _AUDIT_S, audits.audit, models[0], models[1], *given)
        except RuntimeError as error:  # whatever a damaged file leads to
            raise FileFormatError(f"{file} cannot be held against {reference} ({error}); one is damaged") from error


def _input_specs(pair: Sequence[Artifact], said: Preprocessing) -> list[InputSpec]:
    """How each file's input is made; one without a card eats what the other does, unless the user says how."""
    from edgekit import foreign

    cards = [artifact.card for artifact in pair if artifact.card]
    if said.mean is not None:
        return [foreign.input_spec(artifact, said) for artifact in pair]
    shared = cards[0].input if cards else foreign.input_spec(pair[-1], said)
    return [artifact.card.input if artifact.card else shared for artifact in pair]


def _decoded(
    paths: Sequence[Path], specs: Sequence[InputSpec], progress: Callable[[str, int, int], None]
) -> tuple[list[Path], list[list[Any]]]:
    """The images that can be read, and for each spec the inputs that it makes of them."""
    from edgekit import images

    def decode(content: bytes) -> list[Any]:
        made = {spec: images.normalise(images.crop(content, spec), spec) for spec in specs}
        return [made[spec] for spec in specs]

    results = list(images.for_each(paths, decode, workers=2, progress=lambda *done: progress("decode", *done)))
    _warn_skipped([f"{path.name}: {item.reason}" for path, item in results if isinstance(item, images.Unreadable)])
    good = [(path, item) for path, item in results if not isinstance(item, images.Unreadable)]
    return [path for path, _ in good], [[item[number] for _, item in good] for number in range(len(specs))]


def _truths(paths: Sequence[Path], artifact: Artifact) -> list[int | None]:
    """The images' classes as far as their names tell; an audit does without."""
    from edgekit import dataset, foreign

    try:
        return dataset.truths(paths, foreign.class_names(artifact))
    except DataError:
        return [None] * len(paths)


def _show_audit(found: Audit, file: Path, reference: Path, node_data: Path | None, as_json: bool) -> None:
    from edgekit import model_explorer, screens

    if node_data is not None:
        _write_text(node_data, model_explorer.to_json(found))
    _show(found, lambda: screens.audited(found, str(file), str(reference)), as_json)


@app.command(name="eval", epilog="\b\nExample: edgekit eval m-int8.tflite --images val --reference m-float32.tflite")
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE.tflite")],
    images: Images = None,
    reference: Annotated[
        Path | None, typer.Option(metavar="FLOAT.tflite", help="Compare with this model, image by image.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Rows of file name,class; else folders or wnids in file names.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="RESULTS.jsonl", help="Append the results here.")
    ] = None,
    include_calibration: Annotated[
        bool, typer.Option("--include-calibration", help="Judge also on the images that set the ranges.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads; all cores if not given.")] = None,
    channels: Annotated[str, typer.Option(help="RGB or BGR, for files without a card.")] = "RGB",
    mean: Annotated[str | None, typer.Option(help="On 0..255, one value or three, for files without a card.")] = None,
    std: Annotated[str | None, typer.Option(help="As --mean.")] = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy on images, with intervals, and agreement with a reference model."""
    from edgekit import artifact as artifacts
    from edgekit import compare as comparing
    from edgekit import dataset, foreign, measurement
    from edgekit import evaluate as evaluating
    from edgekit import images as pictures
    from edgekit.report import terminal

    override = foreign.Preprocessing(channels, mean, std)
    subjects = [_subject(artifacts.read(path), override) for path in (file, reference) if path]
    with _bars() as bars:
        paths = pictures.list_images(images or _sample_images(bars))
        if not include_calibration:
            paths = _unseen(paths, subjects)
        names = foreign.class_names(subjects[0].artifact)
        truths = dataset.truths(paths, names, labels)
        progress = bars(file.name)
        qualities = evaluating.evaluate(
            subjects[0],
            paths,
            truths,
            subjects[1] if reference else None,
            workers,
            lambda done, of: progress("eval", done, of),
        )
    for quality in qualities if output else []:
        assert output is not None
        measurement.append(output, quality)
    _warn_skipped(qualities[0].skipped)
    _show(qualities, lambda: terminal.render(comparing.compare(qualities), _width()), as_json)


@app.command(
    epilog="\b\nExample: edgekit bench a.tflite b.tflite --threads 1,2,4 -o results.jsonl"
    "\nExample: edgekit bench a.tflite --protocol standard --cores 4-7 --strict"
    "\nExample: edgekit bench a.tflite --protocol sustained --picture heat.svg"
)
def bench(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.tflite...")],
    device: Where = "local",
    benchmark_model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For adb: TensorFlow Lite's benchmark_model for the phone.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="quick, standard, mlperf-single-stream, sustained (30 minutes a model) or cold.")
    ] = "quick",
    threads: Annotated[str, typer.Option(metavar="N[,N...]", help="Threads of the runtime, one session each.")] = "1",
    cores: Annotated[
        str, typer.Option(metavar="LIST", help="Processors to stay on, such as 4-7 or 0,2; all if not given.")
    ] = "",
    inputs: Annotated[
        str, typer.Option(metavar="KIND", help="random, golden, or images:FOLDER for files with a card.")
    ] = "random",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RESULTS.jsonl", help="Results are appended.")
    ] = Path("results.jsonl"),
    meter: Annotated[
        str, typer.Option(metavar="NAME[:ARGS]", help="Energy: auto, none, or as docs/energy.md has it.")
    ] = "auto",
    modelled: Annotated[
        bool, typer.Option("--modelled", help="Add energy modelled from counts, in a column of its own.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail unless every verdict is valid.")] = False,
    require_full_delegation: Annotated[
        bool, typer.Option("--require-full-delegation", help="Fail if a delegate left any operator.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw latency and temperature over time, .svg or .png.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time models here or on another device, interleaved, and append one JSON line for each."""
    from edgekit import artifact as artifacts
    from edgekit import bench as benching
    from edgekit import compare as comparing
    from edgekit import devices, measurement, meters, validity
    from edgekit.devices.emulated import Emulated
    from edgekit.report import terminal

    place = devices.find(device, benchmark_model)
    preset, counts, pinned = benching.find_protocol(protocol), _numbers("--threads", threads), _cores(cores)
    sessions = [measurement.Session(preset, count, meter, pinned, inputs) for count in counts]
    kind = None if picture is None else _picture_kind(picture, place, len(sessions))
    if device == "local":
        meters.open(meter)  # a wrong name is known before the models are read
    read = [artifacts.read(path) for path in files]
    if isinstance(place, Emulated):
        counted = _counted(place, read, sessions[0], output)
        _show(counted, lambda: terminal.render(comparing.compare(counted), _width()), as_json)
        return
    measured: list[Measurement] = []
    with _bars() as bars:
        for asked in sessions:
            progress = _share_of(bars(f"{asked.threads} threads" if len(sessions) > 1 else device), preset.name)
            found = place.run(read, asked, progress)
            if modelled:
                found = [_with_model(record, artifact) for record, artifact in zip(found, read, strict=True)]
            for record in found:
                measurement.append(output, record)
            measured += found
    if picture is not None and kind is not None:
        from edgekit.report import course

        _write_bytes(picture, course.draw(measured, kind))
    _show(measured, lambda: terminal.render(comparing.compare(measured), _width()), as_json)
    if require_full_delegation:
        benching.check_delegation(measured)
    if strict:
        validity.check(measured)


def _picture_kind(picture: Path, place: Device | Emulated, sessions: int) -> str:
    """What to draw; UsageError before half an hour is spent on what cannot be drawn."""
    from edgekit.devices.emulated import Emulated
    from edgekit.report import course

    if isinstance(place, Emulated):
        raise UsageError("--picture draws latency over time, and an emulated core has no time; leave it out")
    if sessions > 1:
        raise UsageError("--picture draws one session; give one number of threads")
    return course.kind_of(picture)


def _counted(place: Emulated, read: list[Artifact], asked: Session, output: Path) -> list[Instructions]:
    """Counts on an emulated core, stored."""
    from edgekit import measurement

    with _bars() as bars:
        counted = place.count(read, asked, _share_of(bars(place.name), "count"))
    for count in counted:
        measurement.append(output, count)
    return counted


def _share_of(progress: Callable[[str, int, int], None], stage: str) -> Callable[[float], None]:
    """A bar of a thousand parts for what tells its progress as a share."""
    return lambda share: progress(stage, round(share * 1000), 1000)


def _cores(text: str) -> tuple[int, ...]:
    """Processor numbers as the kernel lists them: "4-7", "0,2", "0-1,4"."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        try:
            ends = int(first), int(last if dash else first)
        except ValueError:
            raise UsageError(f"--cores takes numbers and ranges such as 4-7 or 0,2; got {text!r}") from None
        if not 0 <= ends[0] <= ends[1] < 4096:
            raise UsageError(f"--cores takes ranges from a smaller to a greater number; got {part!r}")
        found.update(range(ends[0], ends[1] + 1))
    return tuple(sorted(found))


def _numbers(option: str, text: str) -> list[int]:
    """Distinct whole numbers of 1 or more, in the given order."""
    try:
        numbers = list(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{option} takes whole numbers of 1 or more, such as 1 or 1,2,4; got {text!r}")
    return numbers


@app.command(
    epilog="\b\nExample: edgekit profile squeezenet_v1_1-224-int8.tflite --threads 2"
    "\nExample: edgekit profile --log benchmark_model.txt"
)
def profile(
    file: Annotated[Path | None, typer.Argument(metavar="FILE.tflite", help="The network to time.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the runtime.")] = 1,
    log: Annotated[
        Path | None,
        typer.Option(metavar="FILE.txt", help="Read what benchmark_model --enable_op_profiling=true has printed."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where an inference spends its time, operator by operator, and whether the parts make up the whole."""
    from edgekit import artifact as artifacts
    from edgekit import profile as profiles
    from edgekit import screens
    from edgekit.devices import local

    if (file is None) == (log is None):
        raise UsageError("give either a FILE.tflite to time, or --log with what benchmark_model printed")
    if log is not None:
        try:
            found = profiles.parse_benchmark_model(log.read_text(errors="replace"))
        except OSError as error:
            raise FileFormatError(f"cannot read {log}: {error.strerror}") from None
        except FileFormatError as error:
            raise FileFormatError(f"{log}: {error}") from None
    else:
        assert file is not None
        artifact = artifacts.read(file)
        with _bars() as bars:
            found = local.profile_operators(artifact, threads, _share_of(bars("profile"), file.name))
    title = f"{file or log}, {threads} {'thread' if threads == 1 else 'threads'}" if file else str(log)
    _show(found, lambda: screens.profiled(title, found), as_json)


def _with_model(record: Measurement, artifact: Artifact) -> Measurement:
    """The record with the energy that counts and a table give, which is never a measured one."""
    import msgspec

    from edgekit import artifact as artifacts
    from edgekit import graph, modelled

    energy = modelled.energy(graph.load(artifacts.read_model(artifact.path)))
    return msgspec.structs.replace(record, modelled=energy)


Results = Annotated[list[Path], typer.Argument(metavar="RESULTS.jsonl...", help="What bench and eval have stored.")]
Lenient = Annotated[bool, typer.Option("--lenient", help="Skip lines that are no results, and say which.")]
Manifest = Annotated[
    Path | None, typer.Option(metavar="FILE.json", help="A list of published files, as export/manifest.json.")
]
OnDevice = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="Any part of a device's name in the results, such as pi4."),
]


@app.command(
    epilog="\b\nExample: edgekit compare results.jsonl --html report.html"
    "\nExample: edgekit compare old.jsonl new.jsonl --fail-on-regression 5%"
)
def compare(
    results: Results,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page to choose and look in.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as CSV.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.svg|png", help="Draw accuracy over --cost for a paper.")
    ] = None,
    cost: Annotated[
        str, typer.Option(help="For --picture: latency, size, download, memory, energy, modelled or instructions.")
    ] = "latency",
    device: OnDevice = None,
    manifest: Manifest = None,
    artifacts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For --html: the .tflite files, to show them layer by layer.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="For --artifacts: the judged images, to show what was confused.")
    ] = None,
    lenient: Lenient = False,
    fail_on_regression: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="Of two results, old and new: exit 10 if a figure got worse by more."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Join stored results into one table: size, accuracy, agreement, latency, energy; or hold new ones against old."""
    from edgekit.report import csv as csv_report
    from edgekit.report import html as html_report
    from edgekit.report import markdown as markdown_report
    from edgekit.report import terminal

    if fail_on_regression is not None:
        _regress(results, fail_on_regression, manifest, lenient, as_json)
        return
    if (images is not None and artifacts is None) or (artifacts is not None and html is None):
        raise UsageError("--images belongs to --artifacts DIR, and that to --html FILE; give these as well")
    comparison = _compared(results, device, manifest, lenient)
    more = [_model_by_model(comparison, results, artifacts, images)] if artifacts else []
    writers: list[tuple[Path | None, Callable[[Any], str]]] = [
        (markdown, markdown_report.render),
        (html, lambda found: html_report.render(found, known=_published(), more=more)),
        (csv, csv_report.render),
    ]
    for path, render in writers:
        if path is not None:
            _write_text(path, render(comparison))
    if picture is not None:
        _draw(comparison, picture, cost)
    _show(comparison, lambda: terminal.render(comparison, _width()), as_json)


@app.command(epilog="\b\nExample: edgekit choose results.jsonl --device pi4 --max-latency-ms 40 --max-size 2MB")
def choose(
    results: Results,
    device: OnDevice = None,
    max_latency_ms: Annotated[float | None, typer.Option(min=0, metavar="MS", help="Median of an inference.")] = None,
    max_size: Annotated[str | None, typer.Option(metavar="SIZE", help="On disk, such as 2MB or 1.5MiB.")] = None,
    max_download: Annotated[str | None, typer.Option(metavar="SIZE", help="Packed; needs --manifest.")] = None,
    max_memory: Annotated[str | None, typer.Option(metavar="SIZE", help="Peak of resident memory.")] = None,
    max_energy_mj: Annotated[float | None, typer.Option(min=0, metavar="MJ", help="Measured, per inference.")] = None,
    max_instructions: Annotated[
        float | None, typer.Option(min=0, metavar="MILLIONS", help="Per inference, on an emulated core.")
    ] = None,
    min_top1: Annotated[float | None, typer.Option(min=0, max=100, metavar="PERCENT", help="Top-1 at least.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Go by the accuracy published for the network, not by that measured.")
    ] = False,
    manifest: Manifest = None,
    lenient: Lenient = False,
    as_json: Json = False,
) -> None:
    """The best models for a device within limits, in order, with the reason why each wins or loses."""
    from edgekit import screens
    from edgekit.compare import choose as choosing
    from edgekit.compare.family import MEASURED, PUBLISHED

    most = {
        "latency_ms": max_latency_ms,
        "size_mb": _megabytes("--max-size", max_size),
        "download_mb": _megabytes("--max-download", max_download),
        "memory_mb": _megabytes("--max-memory", max_memory),
        "energy_mj": max_energy_mj,
        "instructions_m": max_instructions,
    }
    limits = choosing.Limits({key: value for key, value in most.items() if value is not None}, min_top1)
    comparison = _compared(results, None, manifest, lenient)
    basis = PUBLISHED if published else MEASURED
    found = choosing.choose(comparison.rows, limits, device, basis, _published())
    _show(found, lambda: screens.chosen(found, basis), as_json)


def _compared(results: Sequence[Path], device: str | None, manifest: Path | None, lenient: bool) -> Comparison:
    """The results joined, of one device if one is named; lines that are none are an error, or skipped and told."""
    from edgekit import compare as comparing
    from edgekit import measurement
    from edgekit.compare import choose as choosing

    flaws: list[measurement.Flaw] = []
    found = comparing.compare(measurement.scan(results, flaws), _listed(manifest))
    if flaws and not lenient:
        measurement.check(flaws)
    _warn([f"skipped {flaw.file}, line {flaw.line}: {flaw.reason}" for flaw in flaws])
    if device is None:
        return found
    return comparing.of_device(found, choosing.find_device({row.device for row in found.rows if row.device}, device))


def _model_by_model(comparison: Comparison, results: Sequence[Path], folder: Path, images: Path | None) -> str:
    """The part of the page that shows every file of the folder that the results know, by its hash."""
    from edgekit import artifact as found_files
    from edgekit import measurement
    from edgekit.measurement import Quality
    from edgekit.report import details
    from edgekit.report.html import grid

    judged = {}
    for stored in measurement.scan(results, []):
        if isinstance(stored.record, Quality) and stored.record.truth:
            judged[stored.record.artifact_sha256] = stored.record
    rows = {row.artifact_sha256: row for row in comparison.rows}
    rows |= {row.artifact_sha256: row for row in comparison.rows if row.instructions and row.instructions.operators}
    read = [found_files.read(path) for path in sorted(folder.glob("*.tflite"))]
    known = [artifact for artifact in read if artifact.sha256 in rows]
    if not known:
        raise DataError(f"none of the {len(read)} .tflite files in {folder} is in the results, by its hash")
    made = [_detail(artifact, rows[artifact.sha256], judged.get(artifact.sha256), images) for artifact in known]
    return details.section(made, grid)


def _detail(artifact: Artifact, row: Row, quality: Quality | None, folder: Path | None) -> Detail:
    from edgekit import inspection
    from edgekit.compare import classes
    from edgekit.report.details import Detail, Layer

    noise = {layer.index: layer.own_sqnr_db for layer in _audited(artifact)}
    counted = dict(enumerate(row.instructions.operators)) if row.instructions else {}
    layers = tuple(
        Layer(
            operator.index,
            operator.kind,
            operator.output_shape,
            operator.output_bytes,
            operator.macs,
            operator.delegated,
            counted[operator.index].instructions if operator.index in counted else None,
            noise.get(operator.index),
        )
        for operator in inspection.inspect(artifact.path).operators
    )
    if quality is None:
        return Detail(artifact.name, layers, names=artifact.labels)
    worst = tuple(classes.confusions(quality))
    shown = _pictures(folder, artifact, quality, [item.image for item in worst]) if folder else {}
    return Detail(artifact.name, layers, tuple(classes.by_class(quality)), worst, artifact.labels, shown)


def _audited(artifact: Artifact) -> Sequence[AuditedLayer]:
    return artifact.card.audit.layers if artifact.card and artifact.card.audit else ()


def _pictures(folder: Path, artifact: Artifact, quality: Quality, places: Sequence[int]) -> dict[int, str]:
    """Small forms of some of the judged images; none where the folder's images are not those that were judged."""
    from edgekit import images

    paths = images.list_images(folder)
    card = artifact.card
    kept = images.without(paths, card.calibration.image_ids) if card and card.calibration else paths
    for judged in (kept, paths):
        if images.digest(judged) == quality.images_sha256:
            return {place: images.thumbnail(judged[place]) for place in places}
    _warn([f"{artifact.name}: the images of {folder} are not those that were judged, so none is shown"])
    return {}


def _listed(manifest: Path | None) -> list[Listed] | None:
    import msgspec

    from edgekit.compare import Listed

    if manifest is None:
        return None
    try:
        return msgspec.json.decode(manifest.read_bytes(), type=list[Listed])
    except OSError as error:
        raise FileFormatError(f"cannot read {manifest}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise FileFormatError(f"{manifest} is no list of published files ({error})") from None


def _published() -> dict[tuple[str, int], float]:
    """Published top-1 of the networks that edgekit knows."""
    from edgekit import models as networks

    return {name: found.top1 for name, found in networks.published().items() if found.top1 is not None}


def _regress(results: Sequence[Path], limit: str, manifest: Path | None, lenient: bool, as_json: bool) -> None:
    """Shows what changed from the first results to the second; QualityError if that is for the worse."""
    from edgekit import screens
    from edgekit.compare import regress

    if len(results) != 2:
        raise UsageError(f"--fail-on-regression takes two results, old and new; got {len(results)}")
    share = regress.parse_share(limit)
    old, new = (_compared([path], None, manifest, lenient) for path in results)
    found = regress.regress(old, new)
    _show(found, lambda: screens.regression(found, share), as_json)
    regress.check(found, share)


def _draw(comparison: Comparison, path: Path, name: str) -> None:
    """A drawing for each device would be many files: the results of one device are asked for."""
    from edgekit.compare import costs
    from edgekit.compare import family as families
    from edgekit.errors import UnknownNameError
    from edgekit.report import plot, vega

    by_name = {cost.key.partition("_")[0]: cost for cost in costs.COSTS}
    if name not in by_name:
        raise UnknownNameError.among("cost", name, by_name)
    terms = [term for term in families.every_terms(comparison.rows, [by_name[name]]) if term.basis == families.MEASURED]
    places = {(term.device, term.threads) for term in terms}
    if len(places) > 1:
        named = ", ".join(f"{device} ({threads})" for device, threads in places)
        raise UsageError(f"--picture draws one device and number of threads; the results have {named}: give --device")
    spec = plot.for_paper(comparison.rows, terms, {}) if terms else plot.for_paper((), (), {})
    if path.suffix == ".png":
        _write_bytes(path, vega.png(spec))
    else:
        _write_text(path, vega.svg(spec))


def _megabytes(option: str, text: str | None) -> float | None:
    """Sizes as people write them, in MB of a million bytes: 2MB, 500kB, 1.5MiB, or plain bytes."""
    import re

    if text is None:
        return None
    units = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    if not found or found[2].lower() not in units:
        raise UsageError(f"{option} takes a size such as 2MB, 500kB or 1.5MiB; got {text!r}")
    return float(found[1]) * units[found[2].lower()] / 1e6


@app.command(epilog="\b\nExample: edgekit doctor")
def doctor(device: Where = "local", as_json: Json = False) -> None:
    """Show what this machine or another device can do, and how to get what is missing."""
    from edgekit import doctor as doctors
    from edgekit import screens

    found = doctors.examine() if device == "local" else doctors.examine_device(device)
    _show(found, lambda: screens.findings(found, "This machine" if device == "local" else device), as_json)


@android.command(name="push", epilog="\b\nExample: edgekit android push squeezenet_v1_1-224-int8.tflite")
def android_push(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.tflite...")],
    device: Phone = "",
) -> None:
    """Put models into the app; its Models screen shows them when it is next opened."""
    from edgekit import artifact as artifacts

    read = [artifacts.read(path) for path in files]
    for name in _app_on(device).put(read):
        print(f"{name}: on the phone")


@android.command(name="bench", epilog="\b\nExample: edgekit android bench squeezenet_v1_1-224-int8.tflite")
def android_bench(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.tflite...")],
    device: Phone = "",
    protocol: Annotated[str, typer.Option(help="As edgekit bench has them.")] = "quick",
    threads: Annotated[str, typer.Option(metavar="N[,N...]", help="Threads of the runtime, one session each.")] = "1",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RESULTS.jsonl", help="Results are appended.")
    ] = Path("results.jsonl"),
    meter: Annotated[str, typer.Option(metavar="NAME", help="Energy: auto or none.")] = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Fail unless every verdict is valid.")] = False,
    as_json: Json = False,
) -> None:
    """Time models by the app, whatever else on the phone could: as bench --device app:SERIAL."""
    bench(
        files, device=f"app:{_serial(device)}", protocol=protocol, threads=threads, output=output, meter=meter,
        strict=strict, as_json=as_json,
    )  # fmt: skip


@android.command(name="pull", epilog="\b\nExample: edgekit android pull -o results.jsonl")
def android_pull(
    device: Phone = "",
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="RESULTS.jsonl", help="Results are appended, none twice.")
    ] = Path("results.jsonl"),
    as_json: Json = False,
) -> None:
    """Fetch what was measured in the app, check it, and append what is new."""
    from edgekit import compare as comparing
    from edgekit.devices import app as phones
    from edgekit.report import terminal

    found = _app_on(device).fetch()
    new = phones.keep(output, found)
    print(f"{len(new)} new of {len(found)} results on the phone, in {output}", file=sys.stderr)
    if new or as_json:
        _show(new, lambda: terminal.render(comparing.compare(new), _width()), as_json)


def _app_on(device: str) -> App:
    from edgekit.devices.app import App

    return App(_serial(device))


def _serial(device: str) -> str:
    """The phone's serial number; the only one where none is named."""
    from edgekit.devices import app as phones

    if not device:
        return phones.only_phone()
    if not device.startswith(("adb:", "app:")):
        raise UsageError(f"the app is on a phone; write --device adb:SERIAL, not {device}")
    return device.removeprefix("adb:").removeprefix("app:")


def _show(result: object, screen: Callable[[], Any], as_json: bool) -> None:
    """Prints a result for machines, or its screen for people."""
    try:
        if as_json:
            import msgspec

            print(msgspec.json.encode(result, enc_hook=str).decode())
        else:
            _console().print(screen())
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where Python's last flush succeeds
        raise OutputError(f"cannot print the result: {error.strerror}") from error


def _console() -> Any:
    from rich.console import Console

    return Console(markup=False, emoji=False, width=_width())  # a file's or a tensor's name is no markup


def _bar_console() -> Any:
    """Stderr by a descriptor of its own, so that bars go on while the native libraries' lines are diverted."""
    from rich.console import Console

    return Console(file=os.fdopen(os.dup(2), "w", encoding="utf-8"))


def _width() -> int:
    """The terminal's width, or a wide page where the output is no terminal."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else 160


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str], Callable[[str, int, int], None]]]:
    """Progress bars on stderr: call what it yields with a title to get a (stage, done, of) callback."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    label = TextColumn("{task.description}", markup=False)
    columns = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = _bar_console()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def start(title: str) -> Callable[[str, int, int], None]:
            task = progress.add_task(title, total=None)
            return lambda stage, done, of: progress.update(
                task, description=f"{title}: {stage}", completed=done, total=of
            )

        yield start


def _sample_images(bars: Callable[[str], Callable[[str, int, int], None]]) -> Path:
    from edgekit import weights

    progress = bars("sample images")
    return weights.image_folder(lambda done, of: progress("download", done, of))


def _recipes(names: Sequence[str]) -> list[Recipe]:
    from edgekit import recipe

    return [recipe.find(name) for text in names for name in text.split(",")]


def _check_options(names: Sequence[str], of_networks: Sequence[str], said: Preprocessing, model: str | None) -> None:
    """Refuses what would have no effect: options of networks beside a file, and of files without one."""
    from edgekit import export as exports
    from edgekit import foreign

    files = [name for name in names if exports.is_file_name(name)]
    onnx = [name for name in names if exports.is_onnx(name)]
    checkpoints = [name for name in names if exports.is_checkpoint(name)]
    for kinds, useless in (
        (files, of_networks),
        (onnx, [option for option in of_networks if option != "--input-size"]),
    ):
        if kinds and useless:
            raise UsageError(f"{', '.join(useless)} would change a network, but {kinds[0]} is taken as it is")
    if checkpoints and "--weights" in of_networks:
        raise UsageError(f"--weights and {checkpoints[0]} are both weights; give one of them")
    if checkpoints and model is None:
        raise UsageError(f"{checkpoints[0]} holds weights alone; say their network with --model, as squeezenet_v1_1")
    if model is not None and not checkpoints:
        raise UsageError("--model says what network .pth or .safetensors weights are for; none are given")
    takers = (*files, *onnx, *checkpoints)
    if not takers and "--weights" not in of_networks and said != foreign.Preprocessing():
        raise UsageError("--channels, --mean and --std are for files without a card; none is given")


def _source(
    name: str, model: str, weights: str | None, input_size: int | None, classes: int | None, settings: Sequence[str]
) -> Path | ModelSpec:
    """What is to be exported: a .tflite or .onnx, or a network by its name or by that of its weights."""
    from edgekit import export as exports
    from edgekit import models as networks

    if exports.is_file_name(name) or exports.is_onnx(name):
        return Path(name)
    if exports.is_checkpoint(name):
        if not Path(name).is_file():
            raise FileFormatError(f"cannot read {name}: no such file; a PyTorch checkpoint was expected")
        return exports.find_model(networks.for_torch(model), classes, input_size, _settings(settings))
    if Path(name).is_file():
        raise FileFormatError(
            f"{name} is no .tflite; give weights with --weights and their network's name, or convert the model first"
        )
    if weights is not None and exports.is_checkpoint(weights):
        name = networks.for_torch(name)
    return exports.find_model(name, classes, input_size, _settings(settings))


def _distinct(sources: list[Path | ModelSpec]) -> list[Path | ModelSpec]:
    """The same, once it is known that no two of them would be written to one file."""
    from edgekit import export as exports

    for stem, count in Counter(map(exports.stem, sources)).items():
        if count > 1:
            raise UsageError(f"{count} of the models would be written as {stem}-...; export them into folders apart")
    return sources


def _check_images(folder: Path | None) -> None:
    """Refuses a folder without images before a network is built for minutes."""
    from edgekit import images

    if folder is not None:
        images.list_images(folder)


def _samples(
    folder: Path | None, trained: Trained, count: int, progress: Callable[[str, int, int], None]
) -> Samples | None:
    """The calibration images, decoded; says on stderr what is wrong with them."""
    from edgekit import export as exports

    if folder is None:
        return None
    samples = exports.load_samples(folder, trained.input, count, progress)
    _warn_skipped(samples.skipped)
    _warn(samples.warnings)
    if not samples.unseen:
        print(f"no image of {folder} is left to judge on; the audit takes those that calibrate", file=sys.stderr)
    return samples


def _mixed(
    trained: Trained,
    recipe: Recipe,
    samples: Samples | None,
    percent: float | None,
    budget: float | None,
    progress: Callable[[str, int, int], None],
) -> Recipe:
    """The recipe, with what has to stay in higher precision for a target agreement; says on stderr what that costs."""
    if percent is None and budget is not None:
        raise UsageError("--time-budget limits what --target-agreement may cost; give that as well")
    if percent is None or samples is None or recipe.activations != "int8":
        return recipe
    from edgekit import screens
    from edgekit.quantize import mixed

    target = mixed.Target(agreement=percent / 100)
    found = mixed.search(
        trained.tflite, recipe, samples.inputs, target=target, budget=budget, spec=trained.input, progress=progress
    )
    for line in screens.kept(found):
        print(line, file=sys.stderr)
    return found.recipe


def _explainer(
    folder: Path, progress: Callable[[str, int, int], None]
) -> Callable[[str, Audit, dict[str, Histogram]], None]:
    """What draws an audit as a page of pictures in a folder of its own."""
    from edgekit.report import layers

    def draw(title: str, found: Audit, histograms: dict[str, Histogram]) -> None:
        progress("draw", 0, 1)
        page = layers.explain(found, histograms, folder / title, title)
        print(f"{title}: see {page}", file=sys.stderr)

    return draw


def _settings(pairs: Sequence[str]) -> dict[str, bool | int | float | str]:
    """KEY=VALUE arguments; numbers and truth values are recognised."""
    settings: dict[str, bool | int | float | str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, such as --set sr=0.75; got {pair!r}")
        settings[key.strip()] = _value(value.strip())
    return settings


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _read_labels(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels in {path}: {error}") from None


def _subject(artifact: Artifact, override: Any) -> Subject:
    """What is to be judged, once it has run in a child process: a damaged file may crash the runtime."""
    from edgekit import bench, foreign, isolate
    from edgekit.evaluate import Subject

    isolate.call(str(artifact.path), _TRIAL_S, bench.cold_start, artifact)
    return Subject(artifact, foreign.input_spec(artifact, override))


def _unseen(paths: list[Path], subjects: Sequence[Subject]) -> list[Path]:
    """Leaves out the images that set a model's ranges, and says so."""
    from edgekit import images

    cards = [subject.artifact.card for subject in subjects]
    ids = {identity for card in cards if card and card.calibration for identity in card.calibration.image_ids}
    unseen = images.without(paths, ids)
    if len(unseen) < len(paths):
        left_out = len(paths) - len(unseen)
        print(f"{left_out} of {len(paths)} images set the activation ranges and are left out", file=sys.stderr)
    if not unseen:
        raise DataError("every image was used for calibration; give others, or --include-calibration")
    return unseen


def _warn_skipped(skipped: Sequence[str]) -> None:
    if skipped:
        print(f"{len(skipped)} unreadable images were skipped: {'; '.join(skipped)}", file=sys.stderr)


def _warn(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


def _summary(artifact: Artifact) -> dict[str, object]:
    """An exported file for machines; says on stderr which of its operators stay float."""
    from edgekit import export as exports

    left = exports.float_operators(artifact)
    if left:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(left).items())
        _warn([f"{artifact.path}: without an integer kernel and so left in float: {kinds}"])
    return {
        "path": str(artifact.path),
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "float_operators": left,
        "card": artifact.card,
    }


def _write_text(path: Path, text: str) -> None:
    _write_bytes(path, text.encode())


def _write_bytes(path: Path, content: bytes) -> None:
    from edgekit.artifact import atomic_write

    with atomic_write(path) as file:
        file.write(content)
