"""Networks are outlined (shapes, no weights) once per session: they take seconds to make and are never changed."""

from __future__ import annotations

import functools
import gc

import pytest

from edgekit import models


@pytest.fixture(scope="session")
def outlined():
    """`outlined(name, input_size, **options)`: the network without weights, for counting."""

    @functools.cache
    def outline(name, input_size=None, classes=None, **options):
        spec = models.find(name, classes=classes, input_size=input_size, options=options)
        gc.disable()  # these thousands of small objects stay; looking through them again takes half the time
        try:
            return models.outline(spec)
        finally:
            gc.freeze()
            gc.enable()

    return outline


@pytest.fixture(scope="session")
def table(outlined):
    """`table(...)`, arguments as `outlined`: its layer table by layer name."""

    def rows(*args, **kwargs):
        return {row.name: row for row in models.layer_table(outlined(*args, **kwargs))}

    return rows
