"""How each verb's result looks in a terminal: rich renderables, printed by nobody here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgekit.compare import wilson
from edgekit.fidelity import LARGEST_DB, short_names

if TYPE_CHECKING:
    from edgekit.artifact import Artifact, Card
    from edgekit.compare.choose import Choice
    from edgekit.compare.regress import Regression
    from edgekit.compress.papers import PaperTable
    from edgekit.compress.shrink import Attempt
    from edgekit.doctor import Finding
    from edgekit.export.compressed import Compressed
    from edgekit.fidelity import Audit, Hits
    from edgekit.inspection import Inspection, OperatorRow, TensorRow
    from edgekit.profile import Profile
    from edgekit.quantize.mixed import Mixed
    from edgekit.spec import LayerCount, ModelSpec

_WIDEST_NAME = 48
_STORED = ("clipped", "scale", "zero point")


def table(title: str, *columns: str, left: int = 1) -> Table:
    """An empty table; the first `left` columns are flush left, the rest, numbers, flush right."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number < left else "right", overflow="fold")
    return made


def model_list(specs: Iterable[ModelSpec]) -> Table:
    """Every network, one a row."""
    made = table("Networks", "name", "input", "parameters", "MACs (M)", "top-1 %", "top-5 %", "published by")
    made.columns[-1].justify = "left"
    for spec in specs:
        published = spec.published
        made.add_row(
            spec.name,
            str(spec.input_size),
            _thousands(spec.params),
            "" if spec.macs is None else f"{spec.macs / 1e6:.1f}",
            _percent(published.top1 if published else None),
            _percent(published.top5 if published else None),
            published.source if published else "",
        )
    return made


def layer_list(spec: ModelSpec, layers: Sequence[LayerCount]) -> RenderableType:
    """One network, layer by layer."""
    title = f"{spec.name} at {spec.input_size} pixels"
    made = table(title, "layer", "kind", "kernel", "output", "parameters", "MACs", left=3)
    for layer in layers:
        shape = " x ".join(map(str, layer.output_shape))
        made.add_row(layer.name, layer.kind, layer.kernel, shape, _count(layer.params), _count(layer.macs))
    made.add_section()
    made.add_row(
        "total", "", "", "", _count(sum(row.params for row in layers)), _count(sum(row.macs for row in layers))
    )
    return Group(made, Text(spec.note)) if spec.note else made


def exported(artifacts: Iterable[Artifact]) -> Table:
    """What an export has written, and how the audits went."""
    columns = ("bytes", "output", "calibration", "agrees with float", "KL, nats", "noisiest layer")
    made = table("Written", "file", "recipe", *columns, left=2)
    for artifact in artifacts:
        card = artifact.card
        assert card is not None
        images = f"{len(card.calibration.image_ids)} images" if card.calibration else "none needed"
        size, *proof = _thousands(artifact.size_bytes), *_proof(card.audit)
        made.add_row(str(artifact.path), card.recipe.name, size, card.output, images, *proof)
    return made


def _proof(audit: Audit | None) -> tuple[str, str, str]:
    """Agreement, divergence and the noisiest layer, as an audit found them; empty where there was none."""
    if audit is None:
        return "", "", ""
    return _share(audit.agreement), f"{audit.kl_nats:.4f}", _noisiest(audit)


def _noisiest(audit: Audit) -> str:
    if not audit.worst:
        return "none"
    names = dict(zip(audit.names, short_names(audit.names), strict=True))
    found = {layer.name: layer for layer in audit.layers}
    return f"{names[audit.worst[0]]}, {_decibels(found[audit.worst[0]].own_sqnr_db)} dB"


def kept(mixed: Mixed) -> Iterable[str]:
    """What a search for mixed precision kept, and what each costs."""
    if not mixed.steps:
        yield f"{mixed.before.agreement:.1%} of {mixed.held_out} held-out images agree already; nothing is kept"
        return
    names = short_names([step.found.candidate.name for step in mixed.steps])
    for step, name in zip(mixed.steps, names, strict=True):
        what = f"{step.found.candidate.kind} {name} stays in {step.found.candidate.form}"
        cost = f"{step.added_bytes:+,} bytes, {step.time_ratio:.2f} x the time so far"
        yield f"{what}: {step.gain_nats:.4f} nats gained, {cost}"
    scores = f"{mixed.before.agreement:.1%} to {mixed.after.agreement:.1%}"
    yield f"agreement on {mixed.held_out} held-out images: {scores}"


def inspected(result: Inspection, every_tensor: bool) -> RenderableType:
    """A .tflite from the inside."""
    parts: list[RenderableType] = [_summary(result), _operators(result.operators)]
    if every_tensor:
        parts.append(_tensors(result.tensors))
    return Group(*parts)


def audited(result: Audit, quantized: str, reference: str) -> RenderableType:
    """A quantized model held against its float form, the worst layers first."""
    names = dict(
        zip((layer.name for layer in result.layers), short_names([x.name for x in result.layers]), strict=True)
    )
    summary = _named_values(f"{quantized} against {reference}", _audit_rows(result))
    if not result.operators:
        told = "Nothing in it is quantized: it computes in float32 with float32 weights, so no layer has noise to tell."
        return Group(summary, Text(told))
    made = table(
        "Layers, most noise of their own first", "#", "layer", "kind", "own, dB", "in all, dB", *_STORED, left=3
    )
    for layer in result.ranked:
        clipped = _clipped(layer.clipped)
        scale = "" if layer.scale is None else f"{layer.scale:.4g}"
        zero_point = "" if layer.zero_point is None else str(layer.zero_point)
        noise = (_decibels(layer.own_sqnr_db), _decibels(layer.sqnr_db))
        made.add_row(str(layer.index), names[layer.name], layer.kind, *noise, clipped, scale, zero_point)
    return Group(summary, made, *(Text(note) for note in _audit_notes(result, names)))


def profiled(title: str, found: Profile) -> RenderableType:
    """Where an inference spends its time, in the order of the graph."""
    made = table(title, "#", "operator", "output", "runs in", "time, µs", "±", "share %", "MACs/ns", left=4)
    for operator in found.operators:
        where = "?" if operator.delegated is None else "delegate" if operator.delegated else "built-in"
        scatter = "" if operator.scatter_ns is None else f"{2 * operator.scatter_ns / 1e3:.0f}"
        share = f"{100 * operator.time_ns / found.sum_ns:.1f}" if found.sum_ns > 0 else ""
        speed = f"{operator.macs / operator.time_ns:.1f}" if operator.macs and operator.time_ns > 0 else ""
        name = operator.name if len(operator.name) <= _WIDEST_NAME else f"...{operator.name[-_WIDEST_NAME:]}"
        time_us = f"{operator.time_ns / 1e3:.0f}"
        made.add_row(str(operator.index), operator.kind, name, where, time_us, scatter, share, speed)
    return Group(made, *(Text(note) for note in _profile_notes(found)))


def _profile_notes(found: Profile) -> Iterable[str]:
    from edgekit.profile import TOLERANCE

    yield f"Method: {found.method}."
    if found.whole_ns is None or found.difference is None:
        yield f"The sum is {found.sum_ns / 1e6:.2f} ms; nobody timed the whole beside it."
        return
    words = f"The sum is {found.sum_ns / 1e6:.2f} ms, the whole network takes {found.whole_ns / 1e6:.2f} ms"
    if found.agrees:
        yield f"{words}: {found.difference:+.1%}, within the {TOLERANCE:.0%} that the method allows."
    else:
        yield f"{words}: {found.difference:+.1%}. That is more than {TOLERANCE:.0%}: do not rely on the parts."
    if found.scatter_ns > TOLERANCE * found.whole_ns:
        yield f"The machine was too restless: the sum alone scatters by {found.scatter_ns / found.whole_ns:.0%}."


def findings(found: Iterable[Finding], where: str = "This machine") -> Table:
    """What the doctor says."""
    made = table(where, "", "what", "found", "what to do", left=4)
    for finding in found:
        mark = Text("ok", "green") if finding.ok else Text("missing", "yellow")
        made.add_row(mark, finding.what, finding.found, "" if finding.ok else finding.remedy)
    return made


def chosen(found: Sequence[Choice], basis: str) -> Table:
    """The models in order, and below them those that do not fit, with the reasons."""
    where = found[0].row.device if found else "no device"
    made = table(f"Best models on {where}, by {basis} accuracy", "", "model", "recipe", "threads", "why", left=5)
    for choice in found:
        row = choice.row
        place = Text("" if choice.place is None else str(choice.place), "bold green" if choice.place == 1 else "")
        made.add_row(place, row.artifact_name, row.recipe or "", str(row.threads or ""), choice.reason)
    return made


def regression(found: Regression, share: float) -> Group:
    """What changed for certain or by more than the limit, worst first, and what could not be compared."""
    told = sorted((c for c in found.changes if c.certain and c.change), key=lambda c: -c.change)
    made = table(
        f"Changes beyond chance; the limit is {share:.1%}", "artifact", "figure", "device", "old", "new", "change"
    )
    for change in told:
        style = "red" if change.worse_by(share) else "green" if change.change < 0 else ""
        figures = (f"{change.old:.4g}", f"{change.new:.4g}", Text(f"{change.change:+.1%}", style))
        made.add_row(change.artifact_name, change.what, change.device or "", *figures)
    named = {"only in the old": found.only_old, "only in the new": found.only_new, "timing invalid": found.left_out}
    notes = [Text(f"{words}: {', '.join(names)}") for words, names in named.items() if names]
    return Group(made, Text(f"{len(found.changes)} figures compared"), *notes)


def _summary(result: Inspection) -> Table:
    return _named_values(result.path, _summary_rows(result))


def _named_values(title: str, rows: Iterable[tuple[str, RenderableType]]) -> Table:
    made = Table(title=title, title_justify="left", box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value)
    return made


def _summary_rows(result: Inspection) -> Iterable[tuple[str, RenderableType]]:
    yield "size", f"{_thousands(result.size_bytes)} bytes, sha256 {result.sha256[:16]}"
    yield "input", _ends(result, result.inputs)
    yield "output", _ends(result, result.outputs)
    yield "MACs", f"{result.macs / 1e6:.1f} M"
    activations = _thousands(result.peak_activation_bytes)
    yield "memory", f"weights {_thousands(result.weight_bytes)}, activations at once {activations} bytes"
    yield "activations", ", ".join(f"{count} {dtype}" for dtype, count in sorted(result.dtypes.items()))
    yield "delegate", _delegate(result)
    yield "golden vector", _golden(result)
    yield from _card_rows(result.card, result.labels)


def _ends(result: Inspection, indices: Sequence[int]) -> str:
    rows = [result.tensors[index] for index in indices]
    return "; ".join(f"{row.dtype} {list(row.shape)}{_scale(row)}" for row in rows)


def _scale(row: TensorRow) -> str:
    return "" if row.scale is None else f", real = {row.scale[0]:.6g} x (stored - {row.zero_point})"


def _delegate(result: Inspection) -> RenderableType:
    if result.refused:
        return Text(result.refused, "red")
    if not result.delegate or result.delegate == "none":
        return Text("none: every operator runs in the built-in kernels", "yellow")
    taken = len(result.operators) - len(result.left)
    share = "" if result.macs_delegated is None else f" ({result.macs_delegated:.1%} of the MACs)"
    left = ", ".join(f"{count} {kind}" for kind, count in Counter(result.left).items())
    text = f"{result.delegate} takes {taken} of {len(result.operators)} operators{share}"
    return Text(f"{text}, leaves {left}" if left else text, "yellow" if left else "green")


def _golden(result: Inspection) -> RenderableType:
    if result.golden is None:
        return "none in this file"
    mark = "passed" if result.golden.passed else "FAILED"
    return Text(f"{mark}: {result.golden.detail}", "green" if result.golden.passed else "bold red")


def _card_rows(card: Card | None, labels: int) -> Iterable[tuple[str, str]]:
    if card is None:
        yield "card", "none: not written by edgekit"
        return
    spec = card.input
    yield "card", f"{card.model}, recipe {card.recipe.name}, {card.classes} classes, {labels} labels"
    yield "output is", card.output
    size = f"shorter side {spec.resize_shorter}, crop {spec.height} x {spec.width}"
    yield "preprocessing", f"{spec.channels}, {size}, mean {spec.mean}, std {spec.std}"
    yield "weights", card.weights.source
    if card.calibration:
        yield "calibration", f"{len(card.calibration.image_ids)} images of {card.calibration.source}"
    if card.audit:
        agrees, divergence, noisiest = _proof(card.audit)
        yield "audit", f"agrees with float on {agrees}, KL {divergence} nats, noisiest layer {noisiest}"
    yield "tools", ", ".join(f"{name} {version}" for name, version in card.tools.items())


def _operators(rows: Sequence[OperatorRow]) -> Table:
    made = table("Operators", "#", "kind", "types", "output", "MACs", "runs in", left=4)
    for row in rows:
        where = "?" if row.delegated is None else "delegate" if row.delegated else "built-in"
        shape = " x ".join(map(str, row.output_shape))
        made.add_row(str(row.index), row.kind, " ".join(row.dtypes), shape, _count(row.macs), where)
    return made


def _tensors(rows: Sequence[TensorRow]) -> Table:
    made = table("Tensors", "#", "name", "type", "shape", "bytes", "scales", "scale", "zero point", left=4)
    for row in rows:
        scale = "" if row.scale is None else f"{row.scale[0]:.4g}"
        if row.scale is not None and row.scales > 1:
            scale = f"{row.scale[0]:.3g} .. {row.scale[1]:.3g} on axis {row.axis}"
        name = row.name if len(row.name) <= _WIDEST_NAME else f"...{row.name[-_WIDEST_NAME:]}"
        zero_point = "" if row.zero_point is None else str(row.zero_point)
        shape = " x ".join(map(str, row.shape))
        made.add_row(
            str(row.index), name, row.dtype, shape, _thousands(row.size_bytes), str(row.scales or ""), scale, zero_point
        )
    return made


def _audit_rows(result: Audit) -> Iterable[tuple[str, str]]:
    if result.operators:
        by_name = "all by name" if result.named == result.matched else f"{result.named} by name, the others by kernel"
        yield (
            "layers",
            f"{result.matched} of {result.operators} quantized operators found in the float model, {by_name}",
        )
        yield (
            "noise",
            f"signal to noise in dB on {result.samples} images, a layer's own on {result.own_samples} of them",
        )
    yield "agreement", f"{_share(result.agreement)}; mean KL(float || quantized) {result.kl_nats:.4g} nats"
    if result.top1 is not None and result.float_top1 is not None:
        yield "top-1", f"{_share(result.top1)}; float {_share(result.float_top1)}"
    yield "activations", ", ".join(f"{count} {dtype}" for dtype, count in result.activations.items())
    counts = (result.quantizes, result.dequantizes, result.transposes)
    yield "conversions", "{} QUANTIZE, {} DEQUANTIZE, {} TRANSPOSE".format(*counts)
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(result.islands).items())
    yield "float islands", kinds or "none"
    if result.macs_delegated is not None:
        yield "delegate", f"takes {result.macs_delegated:.1%} of the MACs"


def _audit_notes(result: Audit, names: Mapping[str, str]) -> Iterable[str]:
    found = {layer.name: layer for layer in result.layers}
    worst = ", ".join(f"{names[name]} ({_decibels(found[name].own_sqnr_db)} dB)" for name in result.worst)
    yield f"Most noise of their own: {worst}." if worst else "No layer adds any noise of its own."
    for layer in result.layers:
        if layer.expected_scale is not None:
            yield (
                f"{names[layer.name]} has the scale {layer.scale:.4g}, but the biases of all that read it were made "
                f"for {layer.expected_scale:.4g}: its scale is wrong."
            )


def _decibels(value: float | None) -> str:
    if value is None:
        return "?"
    return "exact" if value >= LARGEST_DB else f"{value:.1f}"


def _clipped(share: float) -> str:
    return "" if not share else "< 0.001 %" if share < 1e-5 else f"{100 * share:.3f} %"


def _share(found: Hits) -> str:
    low, high = wilson(found.hits, found.of)
    return f"{found.hits / found.of:.1%} of {found.of} ({low:.1%} to {high:.1%})"


def _thousands(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _count(value: int) -> str:
    return f"{value:,}" if value else ""


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def compressed(found: Compressed) -> RenderableType:
    """What a compression came to: beside the float and the int8 file and common compressors, and stream by stream."""
    sizes = table(f"{found.artifact.path}", "form", "bytes", "of the file")
    rows: list[tuple[str, int | None]] = [("float32 .tflite", found.float_bytes), ("the file", found.int8_bytes)]
    rows += [(f"the file under {name}", size) for name, size in found.others.items()]
    for name, size in [*rows, (".ekz", found.download_bytes)]:
        if size is not None:
            sizes.add_row(name, _thousands(size), f"{100 * size / found.int8_bytes:.1f} %")
        elif "under" in name:
            sizes.add_row(name, "not installed", "")
    streams = table("Streams", "stream", "coded by", "bytes before", "after", left=2)
    for section in found.sections:
        streams.add_row(section.name, section.codec, _thousands(section.size_bytes), _thousands(section.coded_bytes))
    return Group(sizes, streams, *(_attempts(found.attempts) if found.attempts else []))


def _attempts(attempts: Sequence[Attempt]) -> list[RenderableType]:
    made = table(
        "Attempts, judged on images that chose nothing", "nats a bit", ".ekz bytes", "agrees", "KL nats", "top-1"
    )
    for each in attempts:
        top1 = ""
        if each.top1 is not None and each.float_top1 is not None:
            top1 = f"{each.top1.hits} of {each.top1.of} (float {each.float_top1.hits})"
        agrees = f"{each.agreement.hits} of {each.agreement.of}"
        made.add_row(f"{each.price:.2g}", _thousands(each.download_bytes), agrees, f"{each.kl_nats:.4f}", top1)
    return [made]


def papers(tables: Sequence[PaperTable]) -> RenderableType:
    """The papers' tables, a published column beside ours."""
    made = []
    for each in tables:
        shown = table(each.title, *each.columns)
        for row in each.rows:
            shown.add_row(*row)
        made.append(shown)
    return Group(*made)
