"""What nothing else beats: no other is as cheap and at least as good."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def front(items: Iterable[Item], cost: Callable[[Item], float], worth: Callable[[Item], float]) -> list[Item]:
    """The items that no other one beats, cheapest first; of two that are equal in both, the first given."""
    best: list[Item] = []
    for item in sorted(items, key=lambda item: (cost(item), -worth(item))):
        if not best or worth(item) > worth(best[-1]):
            best.append(item)
    return best
