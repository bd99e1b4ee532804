"""Computes the requests per second of routes from their counters. Pure: the caller passes in the time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.table.traffic import RouteTraffic

__all__ = ["Rate", "Rates", "rate_text"]

_SHOWN: Final = 30
"""Maximum number of rates in a sparkline."""
_FEWEST: Final = 5
"""Number of rates from which there is a sparkline."""
_WIDTH, _HEIGHT = 60, 14


class Rate(msgspec.Struct, frozen=True):
    """The requests per second of a route.

    Attributes:
        words: the latest rate as text, such as ``12`` or ``0.4``.
        points: the latest rates as the points of an SVG polyline, 60 wide and 16 high; ``""`` if there are too few.

    """

    words: str
    points: str = ""


class Rates:
    """The latest rates of each route. Routes without requests take no memory."""

    def __init__(self) -> None:
        self._at: float | None = None
        self._counts: dict[str, int] = {}
        self._rates: dict[str, deque[float]] = {}

    def add(self, now: float, traffic: Mapping[str, RouteTraffic]) -> None:
        """Add counters read at one time. A counter that has become smaller belongs to a new Envoy and started at 0.

        Args:
            now: the time of a monotonic clock, in seconds.
            traffic: name -> statistics.

        """
        counts = {name: counted.requests for name, counted in traffic.items()}
        before, self._counts = self._counts, counts
        earlier, self._at = self._at, now
        if earlier is None or now <= earlier:
            return
        for name in counts.keys() | self._rates.keys():
            count, known = counts.get(name, 0), before.get(name, 0)
            rate = (count - known if count >= known else count) / (now - earlier)
            rates = self._rates.get(name)
            if rates is None:
                if not rate:
                    continue
                rates = self._rates[name] = deque(maxlen=_SHOWN)
            rates.append(rate)
            if not any(rates):
                del self._rates[name]

    def of(self, name: str) -> Rate | None:
        """Return the rates of a route or pool; ``None`` if it had no requests lately."""
        rates = self._rates.get(name)
        if rates is None:
            return None
        if len(rates) < _FEWEST:
            return Rate(rate_text(rates[-1]))
        most, step = max(rates), _WIDTH / (len(rates) - 1)
        points = [f"{at * step:.0f},{1 + _HEIGHT * (1 - rate / most):.1f}" for at, rate in enumerate(rates)]
        return Rate(rate_text(rates[-1]), " ".join(points))


def rate_text(rate: float) -> str:
    """Return a number of requests per second with two significant digits, and no fraction above 10."""
    return f"{rate:.0f}" if rate >= 10 or not rate else f"{rate:.1f}" if rate >= 0.95 else f"{rate:.2g}"
