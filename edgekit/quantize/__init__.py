"""float .tflite + samples + Recipe -> quantized .tflite; needs the runtime and numpy, never TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from edgekit import graph as graphs
from edgekit.errors import DataError, FileFormatError, UnknownNameError, UsageError
from edgekit.graph import NO_TENSOR, Array, Graph
from edgekit.quantize import (
    activations,
    channel_average,
    equalize,
    half,
    head,
    integer,
    kernels,
    lower,
    normalisation,
    operators,
    ranges,
    rounding,
    simplify,
    split,
)
from edgekit.quantize.kernels import Rounded
from edgekit.quantize.ranges import Range, Sample
from edgekit.quantize.rounding import Chooser
from edgekit.recipe import Recipe
from edgekit.spec import InputSpec

Progress = Callable[[str, int, int], None]  # (stage, done, of)
Choose = Callable[[Graph, Sequence[Sample]], Chooser]
_NARROW = ("bfloat16", "float16", "int16", "int2", "int4", "int8", "uint8")


@dataclass(frozen=True)
class Quantized:
    """A quantized model and what became of the float model's tensors on the way.

    `gains` gives by tensor name what each channel (last axis) was divided by, twice over where the tensor was split in
    halves; `input` is the preprocessing that the
    model now asks for, if it was given.
    """

    model: bytes
    input: InputSpec | None = None
    gains: Mapping[str, Array] = field(default_factory=dict)


def quantize(
    model: bytes,
    recipe: Recipe,
    samples: Sequence[Sample] = (),
    progress: Progress | None = None,
    spec: InputSpec | None = None,
) -> Quantized:
    """The model in the form that `recipe` asks for.

    `samples` are float32 inputs of the model's own shape, as a tuple where it has several; only recipes that need
    calibration look at them. `spec` says how images became those inputs: without it the input's range is observed, and
    no normalisation can be folded. FileFormatError for a model that is quantized already or has no fixed input size
    (an unknown batch counts as 1); DataError for weights or samples that cannot serve.
    """
    return _Job(_loaded(model), recipe, samples, spec, progress or _ignore).run()


def settle(
    model: bytes,
    recipe: Recipe,
    samples: Sequence[Sample],
    progress: Progress | None = None,
    spec: InputSpec | None = None,
    chooser: Choose | None = None,
) -> Settled:
    """What takes long in `quantize`, for recipes with integer activations; arguments and errors are the same.

    `chooser` is given the graph that is about to be rounded and the samples in its form, and takes GPTQ's place.
    """
    return _Job(_loaded(model), recipe, samples, spec, progress or _ignore, chooser).settle()


@dataclass(frozen=True)
class Settled:
    """A float graph with ranges and rounded kernels, from which quantized models are made at once, in several ways.

    `samples` and `input` are what `settle` was given, in the form that the graph takes. `reach` has the
    ranges for what is kept in int16.
    """

    graph: Graph
    recipe: Recipe
    samples: Sequence[Sample]
    input: InputSpec | None
    gains: Mapping[str, Array]
    ranges: dict[int, Range]
    reach: dict[int, Range]
    rounded: Mapping[int, Rounded] = field(default_factory=dict)

    def quantized(self, keep_float: Sequence[str] = (), keep_int16: Sequence[str] = ()) -> Quantized:
        """The model; operators that write one of these tensors are kept besides those that the recipe keeps."""
        graph, recipe = self.graph.copy(), self.recipe
        in_float = outputs_named(graph, (*recipe.keep_float, *keep_float))
        in_int16 = outputs_named(graph, (*recipe.keep_int16, *keep_int16))
        float_inputs = graph.inputs if recipe.io == "float32" else []
        float_ends = {*float_inputs, *(graph.outputs if recipe.output == "float32" else [])}
        others = [operator for operator in graph.operators if not {*operator.outputs} & in_float]
        self._to_integers(graph, self.rounded, float_ends, in_float, in_int16)
        kernels.store_int8(dataclasses.replace(graph, operators=others), self.rounded)  # those that stayed float
        if recipe.lower:
            lower.lower(graph)
        graph.drop_unused()
        return Quantized(graphs.dump(graph), self.input, self.gains)

    def build(self, rounded: Mapping[int, Rounded]) -> Graph:
        """The graph whose activations the layers see while their kernels are rounded."""
        if self.recipe.activations == "int16":  # rounding to 16 bits is too fine to matter, and its kernels are slow
            return kernels.as_float(self.graph, rounded)
        made = self.graph.copy()
        in_float, in_int16 = (outputs_named(made, names) for names in (self.recipe.keep_float, self.recipe.keep_int16))
        self._to_integers(made, rounded, frozenset(), in_float, in_int16)
        return made

    def _to_integers(
        self, graph: Graph, rounded: Mapping[int, Rounded], float_ends: Set[int], in_float: Set[int], in_int16: Set[int]
    ) -> None:
        activation = self.recipe.activations
        assert activation != "float32"
        careful = self.recipe.fit_head and self.recipe.output == "float32"
        tail = head.after_last_map(graph) - in_int16 if careful else frozenset()  # the pooling before a float output
        integer.quantize_graph(
            graph, self.ranges, activation, float_ends, rounded, in_float | tail, in_int16, self.reach
        )


def outputs_named(graph: Graph, names: Sequence[str]) -> frozenset[int]:
    """The tensors of these names that operators write; UnknownNameError names the nearest."""
    known = {graph.tensors[index].name: index for operator in graph.operators for index in operator.outputs}
    for name in names:
        if name not in known:
            raise UnknownNameError.among("operator's output", name, known)
    return frozenset(known[name] for name in names)


def _ignore(stage: str, done: int, of: int) -> None:
    pass


class _Job:
    """One quantization under way: the float graph, and the samples in the form that it takes."""

    def __init__(
        self,
        graph: Graph,
        recipe: Recipe,
        samples: Sequence[Sample],
        spec: InputSpec | None,
        progress: Progress,
        chooser: Choose | None = None,
    ) -> None:
        self.graph, self.recipe, self.samples, self.spec = graph, recipe, samples, spec
        self.chooser = chooser
        self.progress = progress
        self.gains: dict[str, Array] = {}

    def run(self) -> Quantized:
        if self.recipe.activations != "float32":
            return self.settle().quantized()
        if self.recipe.output != "float32":
            head.drop_softmax(self.graph)
        self._store_weights()
        self.graph.drop_unused()
        return Quantized(graphs.dump(self.graph), self.spec, self.gains)

    def settle(self) -> Settled:
        recipe = self.recipe
        classifies = head.final_softmax(self.graph) is not None
        if recipe.output != "float32":
            head.drop_softmax(self.graph)
        self._prepare_input()
        self.graph.drop_unused()
        _refuse_kept(self.graph, recipe)
        seen = activations.observe(self.graph, recipe, self.samples, self._stage("ranges"))
        if recipe.equalization:
            by_tensor = equalize.equalize(self.graph, activations.reach(self.graph, seen), recipe.equalization)
            seen = seen.divided(by_tensor)
            self.gains = equalize.by_name(self.graph, by_tensor)
        found = self._known(activations.fitted(self.graph, recipe, seen), classifies)
        reach = self._known(activations.with_headroom(self.graph, seen), classifies=False)
        if recipe.split:
            self._split(found, reach)
        settled = Settled(self.graph, recipe, self.samples, self.spec, self.gains, found, reach)
        return dataclasses.replace(settled, rounded=self._rounded(settled.build))

    def _split(self, found: dict[int, Range], reach: dict[int, Range]) -> None:
        for index in split.choose(self.graph, found, self.samples, self.recipe.split):
            name, channels = self.graph.tensors[index].name, self.graph.tensors[index].shape[-1]
            unit = np.full(channels, found[index][1] / (2 * split.HALF))
            split.split(self.graph, index, unit)
            self.gains[name] = np.tile(self.gains.get(name, np.ones(channels)) * unit, 2).astype(np.float32)
            found[index] = reach[index] = (0.0, split.HALF)

    def _store_weights(self) -> None:
        self.graph.drop_unused()
        if self.recipe.weights == "int8":
            kernels.store_int8(self.graph, self._rounded(lambda rounded: kernels.as_float(self.graph, rounded)))
        elif self.recipe.weights == "float16":
            half.store_float16(self.graph)

    def _prepare_input(self) -> None:
        if self.recipe.fold_input and self.recipe.io == "int8" and self.spec is not None:
            folded = normalisation.fold(self.graph, self.spec)
            if folded is not None:
                self.samples = normalisation.as_pixels(self.samples, self.spec)
                self.spec = folded

    def _known(self, found: dict[int, Range], classifies: bool) -> dict[int, Range]:
        """The ranges with those that are known better: an image's, whatever the samples reach, and logits'."""
        if self.spec is not None and len(self.graph.inputs) == 1:
            found = {**found, self.graph.inputs[0]: normalisation.pixel_range(self.spec)}
        if classifies and self.recipe.fit_head and self.recipe.output == "int8":
            output = self.graph.outputs[0]
            logits = [values[output] for values in ranges.run(graphs.dump(self.graph), self.samples, [output])]
            found = {**found, output: head.fitted_range(logits, found[output])}
        return found

    def _rounded(self, build: Callable[[Mapping[int, Rounded]], Graph]) -> dict[int, Rounded]:
        gptq = self.recipe.rounding == "gptq"
        if not gptq and not self.recipe.bias_correction and self.chooser is None:
            return {}
        return rounding.round_weights(
            self.graph,
            graphs.dump(self.graph),
            self.samples,
            build,
            gptq=gptq or self.chooser is not None,
            correct_bias=self.recipe.bias_correction,
            progress=self._stage("round"),
            chooser=self.chooser(self.graph, self.samples) if self.chooser else None,
        )

    def _stage(self, name: str) -> Callable[[int, int], None]:
        return lambda done, of: self.progress(name, done, of)


def _loaded(model: bytes) -> Graph:
    graph = graphs.load(model)
    _refuse_quantized(graph)
    _refuse_unknown_size(graph)
    _refuse_undefined(graph)
    graph.name_apart()  # gains and layers to keep are known by name
    simplify.drop_empty(graph)
    simplify.fuse_padding(graph)
    simplify.pad_with_zeros(graph)
    simplify.split_unit_clamps(graph)
    simplify.flatten_means(graph)
    channel_average.average_by_convolution(graph)
    return graph


def _refuse_kept(graph: Graph, recipe: Recipe) -> None:
    in_float, in_int16 = (outputs_named(graph, names) for names in (recipe.keep_float, recipe.keep_int16))
    for operator in graph.operators:
        name = graph.tensors[operator.outputs[0]].name
        if {*operator.outputs} & in_float and {*operator.outputs} & in_int16:
            raise UsageError(f"keep_float and keep_int16 both name {name!r}; take it out of one of them")
        if {*operator.outputs} & in_int16 and not operators.supports(operator, "int16"):
            raise UsageError(
                f"{name!r} is written by {operator.kind}, which has no int16 kernel; use keep_float for it"
            )


def _refuse_quantized(graph: Graph) -> None:
    for tensor in graph.tensors:
        if tensor.quantization is not None or (tensor.data is not None and tensor.dtype in _NARROW):
            raise FileFormatError(
                f"the model is quantized already ({tensor.name!r} is {tensor.dtype}); give its float form"
            )


def _refuse_unknown_size(graph: Graph) -> None:
    for tensor in (graph.tensors[index] for index in graph.inputs):
        if any(size < 0 for size in (tensor.shape_signature or ())[1:]):
            raise FileFormatError(
                f"the input {tensor.name!r} has no fixed size {tensor.shape_signature}: build the model on an input "
                "of one, such as keras.Input((224, 224, 3)), and convert it again"
            )


def _refuse_undefined(graph: Graph) -> None:
    for operator in graph.operators:
        for index in (operator.inputs[1], operator.bias) if operator.has_weights else ():
            tensor = graph.tensors[index]
            if index != NO_TENSOR and tensor.data is not None and not np.isfinite(tensor.data).all():
                raise DataError(f"the weights {tensor.name!r} hold infinite or undefined values; train the model again")
