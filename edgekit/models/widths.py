"""Families whose variants differ in a width alpha, which their names carry in percent: mobilenet_v1_050."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from edgekit.spec import ModelSpec, Published

_INPUT_SIZE = 224


class Point(Protocol):
    """Published top-1 and top-5 in percent at one width and input size."""

    @property
    def top1(self) -> float: ...

    @property
    def top5(self) -> float: ...


class Widths(NamedTuple):
    """One such family: what was published by (alpha, input size), where, and the least width that can be built."""

    family: str
    source: str
    points: Mapping[tuple[float, int], Point]
    smallest: float

    def published(self, alpha: float, input_size: int) -> Published | None:
        """The accuracy at this point, or None where nobody published one."""
        point = self.points.get((alpha, input_size))
        return Published(self.source, point.top1, point.top5) if point else None

    def variant(self, name: str, alpha: float, params: int | None = None, macs: int | None = None) -> ModelSpec:
        """The network of one width at 224 pixels."""
        return ModelSpec(
            name=name,
            family=self.family,
            input_size=_INPUT_SIZE,
            options={"alpha": alpha},
            published=self.published(alpha, _INPUT_SIZE),
            params=params,
            macs=macs,
        )

    def parse(self, name: str, whole: ModelSpec) -> ModelSpec | None:
        """Any width by name, _035 being alpha 0.35 and _100 the `whole` network; None for other names."""
        match = re.fullmatch(rf"{self.family}_(\d{{3}})", name)
        alpha = int(match[1]) / 100 if match else 0.0
        if alpha == 1.0:
            return whole
        return self.variant(name, alpha) if alpha >= self.smallest else None
