"""Networks are outlined (shapes, no weights) and built once per session; both are slow to make and never changed."""

from __future__ import annotations

import functools

import pytest

from edgekit import models


@pytest.fixture(scope="session")
def outlined():
    """`outlined(name, input_size, **options)`: the network without weights, for counting."""

    @functools.cache
    def outline(name, input_size=None, classes=None, **options):
        return models.outline(models.find(name, classes=classes, input_size=input_size, options=options))

    return outline


@pytest.fixture(scope="session")
def table(outlined):
    """`table(...)`, arguments as `outlined`: its layer table by layer name."""

    def rows(*args, **kwargs):
        return {row.name: row for row in models.layer_table(outlined(*args, **kwargs))}

    return rows
