"""specs, find and build as a caller meets them; all but the last tests without Keras."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgekit import models
from edgekit.errors import MissingError, UnknownNameError, UsageError
from edgekit.models import layers, mobilenet_v1
from edgekit.spec import ModelSpec

NAMES = """
    squeezenet squeezenet_v1_0 squeezenet_v1_1 squeezenet_v1_0_simple_bypass squeezenet_v1_0_complex_bypass
    squeezenet_bn squeezenet_v1_0_torch
    squeezenext_23 squeezenext_23_v2 squeezenext_23_v3 squeezenext_23_v4 squeezenext_23_v5 squeezenext_23_g
    squeezenext_23_w1_5 squeezenext_23_w2 squeezenext_23_v5_w2 squeezenext_34 squeezenext_44 squeezenext_23_torch
    mobilenet_v1 mobilenet_v1_025 mobilenet_v1_050 mobilenet_v1_075
    mobilenet_v2 mobilenet_v2_torch mobilenet_v2_035 mobilenet_v2_050 mobilenet_v2_075
    mobilenet_v3_large mobilenet_v3_small mobilenet_v3_large_minimalistic mobilenet_v3_small_minimalistic
    mobilenet_v3_large_torch mobilenet_v3_small_torch
    alexnet googlenet vgg16
""".split()


def test_every_name_is_listed_once_and_found():
    names = [spec.name for spec in models.specs()]
    assert sorted(names) == sorted(NAMES)
    assert all(models.find(spec.name) == spec for spec in models.specs())


def test_families_stay_together_and_small_ones_come_first():
    families = [spec.family for spec in models.specs()]
    assert [family for i, family in enumerate(families) if family not in families[:i]] == [
        "squeezenext",
        "squeezenet",
        "mobilenet_v2",
        "mobilenet_v1",
        "mobilenet_v3",
        "googlenet",
        "alexnet",
        "vgg",
    ]
    assert families == sorted(families, key=families.index)


def test_every_variant_is_counted_and_every_accuracy_has_its_source():
    for spec in models.specs():
        assert spec.params and spec.macs
        assert spec.published is None or (spec.published.source and spec.published.top1)


def test_listing_imports_no_framework():
    code = (
        "import sys; from edgekit import models; models.specs(); models.find('alexnet', classes=10);"
        "print([name for name in ('keras', 'tensorflow', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="squeezenet_v1_1"):
        models.find("squeezenet_v11")


@pytest.mark.parametrize(
    ("name", "alpha"),
    [("mobilenet_v1_035", 0.35), ("mobilenet_v1_140", 1.4), ("mobilenet_v2_005", 0.05), ("mobilenet_v2_130", 1.3)],
)
def test_mobilenets_of_any_width_by_name(name, alpha):
    spec = models.find(name)
    assert (spec.name, spec.options, spec.params) == (name, {"alpha": alpha}, None)


def test_width_100_is_the_plain_network():
    assert models.find("mobilenet_v1_100") == models.find("mobilenet_v1")
    assert models.find("mobilenet_v2_100") == models.find("mobilenet_v2")


@pytest.mark.parametrize("name", ["mobilenet_v1_000", "mobilenet_v1_003", "mobilenet_v1_35", "mobilenet_v2_0350"])
def test_names_that_only_look_like_a_width(name):
    with pytest.raises(UnknownNameError):
        models.find(name)


def test_a_changed_variant_has_no_counts():
    own = models.find("squeezenet_v1_1")
    for changed in (
        models.find(own.name, classes=10),
        models.find(own.name, input_size=64),
        models.find(own.name, options={"sr": 0.5}),
    ):
        assert (changed.name, changed.params, changed.macs, changed.published) == (own.name, None, None, None)


def test_arguments_that_change_nothing_keep_everything():
    own = models.find("squeezenet_v1_1")
    assert models.find(own.name, classes=1000, input_size=224, options={"sr": 0.125, "freq": 2}) == own


def test_options_are_merged_over_the_variants_own():
    spec = models.find("squeezenet", options={"sr": 1, "bypass": "simple"})
    assert spec.options == {**models.find("squeezenet").options, "sr": 1.0, "bypass": "simple"}
    assert type(spec.options["sr"]) is float


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet", {"squeeze_ratio": 0.5}),
        ("squeezenet", {"freq": 2.5}),
        ("squeezenet", {"freq": True}),
        ("squeezenet", {"sr": "0.5"}),
        ("mobilenet_v3_small", {"minimalistic": 1}),
    ],
)
def test_wrong_option_lists_the_valid_ones(name, options):
    valid = {"squeezenet": "sr \\(float\\), bypass \\(str\\)", "mobilenet_v3_small": "minimalistic \\(bool\\)"}
    with pytest.raises(UsageError, match=valid[name]):
        models.find(name, options=options)


def test_a_network_without_options_says_so():
    with pytest.raises(UsageError, match="its options: none"):
        models.find("vgg16", options={"alpha": 0.5})


@pytest.mark.parametrize("wrong", [{"classes": 0}, {"classes": True}, {"input_size": 31}, {"input_size": 224.0}])
def test_classes_and_input_size_out_of_range(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        models.find("squeezenet_v1_1", **wrong)


def test_mobilenet_accuracy_follows_width_and_input_size():
    published = models.find("mobilenet_v1_050", input_size=160).published
    assert (published.top1, published.top5) == (59.1, 81.9)
    assert models.find("mobilenet_v1", options={"alpha": 0.25}, input_size=128).published.top1 == 41.5
    assert models.find("mobilenet_v2_035", input_size=96).published.top1 == 45.5
    assert models.find("mobilenet_v2_140").published.top1 == 75.0
    assert models.find("mobilenet_v1_050", input_size=96).published is None
    assert models.find("mobilenet_v1_050", input_size=160, classes=10).published is None
    assert len(mobilenet_v1.PUBLISHED) == 16


def test_without_keras_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingError, match=r"pip install 'edgekit\[export\]'"):
        layers.image(32)


def test_building_a_family_that_is_not_there():
    with pytest.raises(UnknownNameError, match="squeezenet"):
        models.build(ModelSpec(name="mine", family="squeezenets", input_size=32))


@pytest.mark.export
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("squeezenet", {"bypass": "both"}),
        ("squeezenet", {"macro": "v2"}),
        ("squeezenet", {"pct3x3": 1.5}),
        ("squeezenext_23", {"stages": "6-6-8"}),
        ("squeezenext_23", {"wiring": "crossed"}),
        ("squeezenext_23", {"groups": 3}),
        ("mobilenet_v1", {"alpha": 0.01}),
        ("mobilenet_v2", {"alpha": 0.0}),
        ("mobilenet_v3_small", {"size": "medium"}),
    ],
)
def test_option_values_that_no_network_has(name, options):
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        models.build(models.find(name, input_size=32, options=options))
