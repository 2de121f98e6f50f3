"""Compares int8 post-training quantizers: same float models, same calibration images, same judged images.

Usage: python benchmarks/quantization/run.py [--models A,B] [--tools C,D] [--images DIR] [--out DIR] [--again] [--check]
What is measured already, with the same settings, versions and images, is passed over; a tool that failed is tried
again. Exit code 9 says that a tool failed on a model: its row says why.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # a script's own folder is on the path, but its package's parent is not

from edgekit import weights  # noqa: E402
from edgekit.errors import EdgekitError, ModelCrashError  # noqa: E402
from quantization import environments, given, measure, results, table, tools  # noqa: E402
from quantization.given import Given, Sample  # noqa: E402
from quantization.results import FLOAT, Row  # noqa: E402
from quantization.tools import Declaration, Tool  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "quantization-benchmark.md"


@dataclass
class Run:
    """One run: what is compared, where it is kept, and what it shows while it works."""

    declaration: Declaration
    sample: Sample
    out: Path
    results: Path
    again: bool
    progress: Progress
    pythons: dict[str, Path | EdgekitError] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is due and renews the page; the exit code."""
    options = _options(arguments)
    try:
        declaration = tools.declared(options.declaration)
        failed = 0 if options.check else _measure(declaration, options)
        text = table.render(declaration, results.read(options.results))
        if options.check:
            return _check(options.page, text)
        table.write(options.page, text)
    except EdgekitError as error:
        print(f"benchmarks/quantization/run.py: {error}", file=sys.stderr)
        return error.exit_code
    return ModelCrashError.exit_code if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME", help="of tools.toml; all if not given")
    parser.add_argument("--tools", nargs="+", default=[], metavar="NAME", help="of tools.toml; all if not given")
    parser.add_argument("--images", type=Path, help="labelled images; the sample images if not given")
    parser.add_argument("--out", type=Path, default=Path("build/quantization"), help="environments, inputs, models")
    parser.add_argument("--again", action="store_true", help="measure what is measured already, too")
    parser.add_argument("--check", action="store_true", help="measure nothing; exit with 1 if the page is out of date")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl", help="where the rows are kept")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page whose table is renewed")
    parser.add_argument("--declaration", type=Path, default=tools.DECLARATION, help="what is compared")
    return parser.parse_args(arguments)


def _measure(declaration: Declaration, options: argparse.Namespace) -> int:
    """How many of the measurements failed."""
    models = tools.named("model", declaration.models, options.models)
    names = tools.named("tool", [tool.name for tool in declaration.tools], options.tools)
    chosen = [tool for tool in declaration.tools if tool.name in names]
    sample = given.sample(options.images or weights.image_folder())
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        run = Run(declaration, sample, options.out, options.results, options.again, progress)
        task = progress.add_task("models", total=len(models))
        failed = 0
        for model in models:
            failed += _model(run, model, chosen)
            progress.advance(task)
    return failed


def _model(run: Run, model: str, chosen: Sequence[Tool]) -> int:
    """Measures what is due of one model, row by row; how many failed."""
    task = run.progress.add_task(model, total=len(chosen))
    due = [tool for tool in chosen if run.again or not _is_done(run, model, tool)]
    ready = _prepared(run, model, due) if due else None
    failed = 0
    for tool in chosen:
        run.progress.update(task, description=f"{model}: {tool.name}")
        if ready is not None and (tool in due or _is_stale(run, ready, tool)):
            row = measure.measure(tool, run.declaration.pins(tool), _python(run, tool), ready)
            failed += row.error is not None
            _keep(run, row)
        run.progress.advance(task)
    return failed


def _is_done(run: Run, model: str, tool: Tool) -> bool:
    row = results.read(run.results).get((model, tool.name))
    return row is not None and row.answers(run.declaration.pins(tool), tool.settings, run.sample.sha256)


def _is_stale(run: Run, ready: Given, tool: Tool) -> bool:
    """Whether a row that looked done was made from another float model than this one."""
    row = results.read(run.results).get((ready.model, tool.name))
    return row is None or row.float_sha256 != ready.float_sha256


def _prepared(run: Run, model: str, due: Sequence[Tool]) -> Given:
    task = run.progress.add_task(f"{model}: prepare", total=None)

    def report(stage: str, done: int, of: int) -> None:
        run.progress.update(task, description=f"{model}: {stage}", completed=done, total=of)

    keras = any(tool.needs_keras for tool in due) or not (run.out / model / "network.keras").exists()
    ready = given.prepare(model, run.sample, run.out / model, keras=keras, progress=report)
    run.progress.remove_task(task)
    _keep(run, measure.float_row(ready))
    return ready


def _python(run: Run, tool: Tool) -> Path | EdgekitError:
    """The tool's interpreter, or why there is none; environments are made once."""
    name = tool.environment
    if name is None:
        return Path(sys.executable)
    if name not in run.pythons:
        task = run.progress.add_task(f"environment {name}", total=None)
        try:
            folder = run.out.resolve() / "envs"
            run.pythons[name] = environments.python_of(name, run.declaration.environments[name], folder)
        except EdgekitError as error:
            run.pythons[name] = error
        run.progress.remove_task(task)
    return run.pythons[name]


def _keep(run: Run, row: Row) -> None:
    former = results.read(run.results).get(row.place)
    results.store(run.results, row)
    run.progress.console.print(
        f"{row.model}, {row.tool}: {_words(row)}{_repeated(former, row)}", highlight=False, soft_wrap=True
    )


def _words(row: Row) -> str:
    if row.error is not None:
        return f"failed: {row.error}"
    agreed, apart = table.agreement(row), table.divergence(row)
    if row.tool == FLOAT or agreed is None or apart is None:
        return "judged"
    return f"agrees {agreed:.2f} %, KL {apart:.4f}, {row.seconds or 0:.1f} s"


def _repeated(former: Row | None, row: Row) -> str:
    """Whether the same question got the same answer, where it was asked before."""
    if former is None or not former.answers(row.pins, row.settings, row.images_sha256) or row.error is not None:
        return ""
    same = (former.float_sha256, former.outputs_sha256) == (row.float_sha256, row.outputs_sha256)
    return ", answers as before" if same else ", answers DIFFER from before"


def _check(page: Path, text: str) -> int:
    if table.is_current(page, text):
        return 0
    print(f"{page} is not what the results say; run: python benchmarks/quantization/run.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
