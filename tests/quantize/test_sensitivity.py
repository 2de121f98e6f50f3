"""Which operators lose what in int8: on small networks with one that int8 ruins, and one that it does not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from float_graphs import Net, noise

from edgekit import graph as graphs
from edgekit import quantize
from edgekit.errors import DataError, QualityError, UsageError
from edgekit.graph import Array
from edgekit.quantize import mixed, ranges, sensitivity
from edgekit.quantize.mixed import Target
from edgekit.recipe import Recipe
from edgekit.runtime import Runner

CHANNELS = 8
MAP = (1, 4, 4, CHANNELS)
SAMPLES = noise(*MAP, count=60)
INT8 = Recipe("int8_fast", weights="int8", activations="int8", io="float32")
INT8_ENDS = msgspec.structs.replace(INT8, io="int8")
GPTQ = msgspec.structs.replace(INT8, name="gptq", rounding="gptq", bias_correction=True)


def classifier(*, wide_weights: bool = False, outliers: bool = False) -> tuple[bytes, dict[str, str]]:
    """Three convolutions and a dense layer; the second is what int8 ruins. Returns the tensors' names by layer too."""
    net = Net(MAP)
    first = net.conv(0, CHANNELS)
    second = net.conv(first, CHANNELS)
    third = net.conv(second, CHANNELS)
    flat = net.add("RESHAPE", [third, net.constant([1, 16 * CHANNELS], "int32")], (1, 16 * CHANNELS))
    net.add("FULLY_CONNECTED", [flat, net.weights(5, 16 * CHANNELS, spread=1.0), net.constant(np.zeros(5))], (1, 5))
    kernels = [net.graph.tensors[operator.inputs[1]] for operator in net.graph.operators[:3]]
    for operator in net.graph.operators[:3]:
        net.graph.tensors[operator.bias].data *= 0  # the classes depend on the input
    if wide_weights:
        _one_large_weight(kernels[1].data, kernels[0].data)
    if outliers:
        _one_large_channel(kernels[1].data, kernels[2].data)
    named = {"first": first, "second": second, "third": third}
    return net.done(), {layer: net.graph.tensors[index].name for layer, index in named.items()}


def _one_large_weight(kernel: Array | None, before: Array | None) -> None:
    """In every filter a weight 10,000 times the others', for a channel that carries next to nothing."""
    assert kernel is not None
    assert before is not None
    before[0] *= 1e-6
    kernel[..., 0] = 1e4 * np.abs(kernel[..., 1])


def _one_large_channel(kernel: Array | None, after: Array | None) -> None:
    """A channel a thousand times as large as the others, whose part in the next layer's sums is as small."""
    assert kernel is not None
    assert after is not None
    kernel[0] *= 1e3
    after[..., 0] *= 1e-3


def lost(found: sensitivity.Sensitivity) -> float:
    return found.noise_nats


def test_the_ruined_kernel_gains_most_and_by_its_weights_alone():
    model, layer = classifier(wide_weights=True)
    found = sensitivity.measure(model, INT8, SAMPLES)
    best = max((each for each in found if len(each.candidate.outputs) == 1), key=lost)
    assert best.candidate.outputs == (layer["second"],)
    assert (best.candidate.kind, best.candidate.macs) == ("CONV_2D", 16 * CHANNELS * CHANNELS)
    in_int16 = [each for each in found if each.candidate.form == "int16"]
    assert max(map(lost, in_int16)) < 0.5 * best.noise_nats


def test_the_ruined_value_gains_most_and_all_that_use_it_must_be_kept():
    model, layer = classifier(outliers=True)
    found = sensitivity.measure(model, INT8, SAMPLES)
    best = max((each for each in found if each.candidate.form == "int16"), key=lost)
    assert best.candidate.outputs == (layer["second"], layer["third"])
    alone = [each for each in found if len(each.candidate.outputs) == 1]
    assert max(map(lost, alone)) < 0.5 * best.noise_nats


def test_noise_of_one_value_is_what_the_float_model_loses_by_it():
    model, layer = classifier(outliers=True)
    found = sensitivity.measure(model, INT8, SAMPLES)
    (value,) = (each for each in found if each.candidate.form == "int16" and each.candidate.name == layer["second"])
    whole = sensitivity.Judge(model, SAMPLES[:32]).score(quantize.quantize(model, INT8, SAMPLES)).kl_nats
    assert 0.3 * whole < value.noise_nats < 3 * whole
    assert value.noise_nats > 20 * min(map(lost, found))


def test_bytes_and_times_are_those_of_the_models_and_missing_where_none_was_made():
    model, _layer = classifier()
    settled = quantize.settle(model, GPTQ, SAMPLES)
    found = sensitivity.of_settled(settled, sensitivity.Judge(model, ranges.spread(SAMPLES, sensitivity.JUDGED)))
    assert found == sorted(found, key=lost, reverse=True)
    base = settled.quantized()
    for each in found:
        made = sensitivity.kept(settled, [each.candidate])
        assert len(made.model) - len(base.model) == each.added_bytes
        assert each.time_ratio is not None
        assert each.time_ratio > 0


def test_a_settled_model_is_what_quantize_makes():
    model, layer = classifier()
    settled = quantize.settle(model, GPTQ, SAMPLES)
    assert settled.quantized().model == quantize.quantize(model, GPTQ, SAMPLES).model
    plain = quantize.settle(model, INT8, SAMPLES)
    recipe = msgspec.structs.replace(INT8, keep_float=(layer["first"],), keep_int16=(layer["third"],))
    made = plain.quantized([layer["first"]], [layer["third"]])
    assert made.model == quantize.quantize(model, recipe, SAMPLES).model


def test_a_float_model_is_at_no_distance_from_itself():
    model, _layer = classifier()
    judge = sensitivity.Judge(model, SAMPLES)
    exact = judge.score(quantize.Quantized(model))
    assert (exact.agreement, exact.kl_nats) == (1.0, pytest.approx(0, abs=1e-12))
    assert judge.score(quantize.quantize(model, INT8, SAMPLES)).kl_nats > 0


def test_times_compare_with_the_first_model():
    slow, quick = Net((1, 64, 64, 16)), Net((1, 64, 64, 16))
    quick.conv(0, 16)
    for _layer in range(12):
        slow.conv(slow.graph.operators[-1].outputs[0] if slow.graph.operators else 0, 16, 3)
    same, longer = sensitivity.time_ratios(quick.done(), [quick.done(), slow.done()])
    assert 0.4 < same < 2.5
    assert longer > 3


def test_search_keeps_exactly_the_ruined_kernel_and_meets_the_target():
    model, layer = classifier(wide_weights=True)
    found = mixed.search(model, INT8, SAMPLES, target=Target(agreement=0.95))
    assert found.before.agreement < 0.9
    assert found.recipe == msgspec.structs.replace(INT8, keep_float=(layer["second"],))
    assert found.after.agreement >= 0.95
    assert found.held_out == 20
    (step,) = found.steps
    assert step.added_bytes == step.found.added_bytes
    made = quantize.quantize(model, found.recipe, [s for n, s in enumerate(SAMPLES) if n % 3])
    assert sensitivity.Judge(model, SAMPLES[::3]).score(made) == found.after
    assert len(made.model) == found.size_bytes


def test_search_keeps_the_ruined_value_with_those_that_use_it():
    model, layer = classifier(outliers=True)
    found = mixed.search(model, INT8, SAMPLES, target=Target(kl_nats=1e-3))
    kept = {*found.recipe.keep_int16, *found.recipe.keep_float}
    assert kept >= {layer["second"], layer["third"]}
    assert found.before.kl_nats > 1e-3 >= found.after.kl_nats


def test_search_keeps_nothing_where_the_target_is_met_already():
    model, _layer = classifier()
    found = mixed.search(model, INT8, SAMPLES, target=Target(agreement=0.5), budget=1.0)
    assert (found.recipe, found.steps, found.before) == (INT8, (), found.after)


def test_search_says_the_best_it_found_where_the_budget_is_too_small(monkeypatch):
    model, _layer = classifier(wide_weights=True)
    with pytest.raises(QualityError, match=r"95.00% agreement was not reached within 1 times .* the best was \d"):
        monkeypatch.setattr(sensitivity, "time_ratios", lambda base, models: [1.5] * len(models))
        mixed.search(model, INT8, SAMPLES, target=Target(agreement=0.95), budget=1.0)


def test_search_goes_to_the_limit_and_says_so():
    model, _layer = classifier()
    with pytest.raises(QualityError, match="1e-12 nats was not reached; the best was"):
        mixed.search(model, INT8_ENDS, SAMPLES, target=Target(kl_nats=1e-12))


def test_what_a_recipe_keeps_already_is_kept_and_no_candidate():
    model, layer = classifier(wide_weights=True)
    recipe = msgspec.structs.replace(INT8, keep_float=(layer["second"],))
    chosen = sensitivity.candidates(quantize.settle(model, recipe, SAMPLES))
    assert not any(layer["second"] in each.outputs for each in chosen)
    found = mixed.search(model, recipe, SAMPLES, target=Target(kl_nats=0.01))
    assert found.recipe.keep_float[:1] == (layer["second"],)
    graph = graphs.load(quantize.quantize(model, found.recipe, SAMPLES).model)
    assert Runner(graphs.dump(graph)).outputs


def test_arguments_that_cannot_be_meant_are_refused():
    model, _layer = classifier()
    by_weights = Recipe("int8_weights", weights="int8", activations="float32", io="float32")
    with pytest.raises(UsageError, match="start from one with int8"):
        mixed.search(model, by_weights, SAMPLES, target=Target(agreement=0.9))
    with pytest.raises(UsageError, match="no target"):
        mixed.search(model, INT8, SAMPLES, target=Target())
    with pytest.raises(UsageError, match="give 1 or more"):
        mixed.search(model, INT8, SAMPLES, target=Target(agreement=0.9), budget=0.5)
    with pytest.raises(DataError, match="cannot be split"):
        mixed.search(model, INT8, SAMPLES[:2], target=Target(agreement=0.9))
