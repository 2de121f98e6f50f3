"""The stored results as a page."""

from __future__ import annotations

from typing import Any

NONE = "\u2013"
HEAD = (
    "# PyTorch and ONNX through edgekit\n\nWritten by `python benchmarks/interop/run.py` from results.json. Random "
    "weights, batch norms settled on noise, 224 x 224. Difference is the greatest between the module's outputs and the "
    "float .tflite's on four images, beside the greatest output. CPU seconds are those of the whole way from the "
    "module to a checked float model, child processes included.\n"
)


def render(results: dict[str, Any]) -> str:
    """The page, as Markdown."""
    parts = [HEAD, "## Architectures\n", _conversions(results)]
    if results["agreement"]:
        parts += ["## SqueezeNet v1.1, real weights, every way\n", _ways(results), _pairs(results["agreement"])]
    return "\n".join(parts)


def _conversions(results: dict[str, Any]) -> str:
    head = (
        "| network | back end | converted | operators | TRANSPOSE | difference | of at most | CPU, s | all integer "
        "| int8 instructions, millions |\n| :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: | :--- | ---: |\n"
    )
    rows = sorted(results["conversions"], key=lambda row: (row["network"], row["back_end"]))
    reasons = [f"{row['network']}, {row['back_end']}: {row['reason']}" for row in rows if row.get("reason")]
    notes = "".join(f"\n- {reason}" for reason in reasons)
    return head + "".join(_conversion(row, results["instructions"]) for row in rows) + notes + "\n"


def _conversion(row: dict[str, Any], instructions: dict[str, int]) -> str:
    if "operators" not in row:
        return f"| {row['network']} | {row['back_end']} | no{f' | {NONE}' * 7} |\n"
    counted = instructions.get(row.get("sha256", ""))
    cells = [
        row["network"],
        row["back_end"],
        "yes",
        str(sum(row["operators"].values())),
        str(row["transposes"]),
        f"{row['difference']:.1e}",
        f"{row['largest']:.2g}",
        f"{row['cpu_seconds']:.0f}",
        _integer(row),
        f"{counted / 1e6:.1f}" if counted else NONE,
    ]
    return f"| {' | '.join(cells)} |\n"


def _integer(row: dict[str, Any]) -> str:
    if "float_operators" not in row:
        return "not quantized"
    left = ", ".join(f"{count} {kind}" for kind, count in row["float_operators"].items())
    return f"no: {left}" if left else "yes"


def _ways(results: dict[str, Any]) -> str:
    models = results["agreement"]["models"]
    first = models[0]
    lines = ["| way | bytes | against the first | operators | the same list | instructions, millions |"]
    lines.append("| :--- | ---: | ---: | ---: | :--- | ---: |")
    for model in models:
        counted = results["instructions"].get(model["sha256"])
        share = 100 * (model["size_bytes"] / first["size_bytes"] - 1)
        same = "yes" if model["order"] == first["order"] else "no"
        cells = [model["way"], f"{model['size_bytes']:,}", f"{share:+.2f} %", str(len(model["order"])), same]
        lines.append(f"| {' | '.join(cells)} | {f'{counted / 1e6:.1f}' if counted else NONE} |")
    return "\n".join(lines) + "\n"


def _pairs(agreement: dict[str, Any]) -> str:
    of = agreement["images"]
    lines = [f"Same answer of the int8 models, of {of} images that calibrated none of them:\n"]
    for pair in agreement["pairs"]:
        one, other = pair["ways"]
        lines.append(f"- {one} and {other}: {pair['agree']} ({100 * pair['agree'] / of:.2f} %)")
    return "\n".join(lines) + "\n"
