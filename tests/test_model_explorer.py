"""Node data as Model Explorer reads it: https://github.com/google-ai-edge/model-explorer, `node_data_builder.py`."""

from __future__ import annotations

import json
import re

from edgekit import model_explorer
from edgekit.fidelity import LARGEST_DB, Audit, Hits, Layer


def audit_of(*layers: Layer) -> Audit:
    return Audit(
        layers=layers,
        worst=(),
        operators=len(layers),
        matched=len(layers),
        named=len(layers),
        samples=1,
        own_samples=1,
        agreement=Hits(1, 1),
        kl_nats=0.0,
        activations={},
        islands=(),
        transposes=0,
        quantizes=0,
        dequantizes=0,
    )


def layer(name: str, index: int, own_sqnr_db: float | None) -> Layer:
    return Layer(name, "CONV_2D", index, "int8", 20.0, own_sqnr_db, 0.0)


def test_numbers_stand_under_the_tensors_that_the_nodes_write() -> None:
    found = json.loads(model_explorer.to_json(audit_of(layer("a/Relu;a/conv", 0, 31.23456), layer("b", 1, -3.0))))
    assert found["results"] == {"a/Relu;a/conv": {"value": 31.23}, "b": {"value": -3.0}}
    assert found["name"] == model_explorer.TITLE


def test_where_names_do_not_tell_the_position_does() -> None:
    """Model Explorer's ids of a .tflite's nodes are the operators' positions in the file."""
    twins = audit_of(layer("same", 0, 1.0), layer("same", 3, 2.0), layer("", 5, 3.0), layer("own", 6, 4.0))
    assert list(model_explorer.node_data(twins).results) == ["0", "3", "5", "own"]


def test_layers_without_a_figure_are_left_white() -> None:
    assert model_explorer.node_data(audit_of(layer("a", 0, None))).results == {}


def test_thresholds_rise_and_cover_every_figure() -> None:
    """A value takes the colour of the first threshold that it does not exceed; above the last it has none."""
    found = json.loads(model_explorer.to_json(audit_of()))
    values = [threshold["value"] for threshold in found["thresholds"]]
    assert values == sorted(set(values))
    assert values[-1] >= LARGEST_DB
    for threshold in found["thresholds"]:
        assert set(threshold) == {"value", "bgColor", "textColor"}
        assert all(re.fullmatch(r"#[0-9a-f]{6}", threshold[part]) for part in ("bgColor", "textColor"))


def test_only_fields_that_the_format_knows() -> None:
    found = json.loads(model_explorer.to_json(audit_of()))
    assert set(found) == {"name", "results", "thresholds", "hideAggregatedStats", "hideInChildrenStatsTable"}
    assert set(found["hideAggregatedStats"]) <= {"min", "max", "sum", "avg"}
