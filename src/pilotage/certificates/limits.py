"""Keeps our orders below the rate limits of CAs, so that untrusted labels cannot use up the limits. Pure.

The limits are below those of Let's Encrypt: 300 orders of an account in 3 hours, 50 certificates of a registered domain
and 5 for the same names in a week. New names may use only part of a limit; the rest is for renewals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CLOCK_ERROR", "Limits", "registered_domain"]

CLOCK_ERROR: Final = 60.0  # seconds by which a recorded time may be ahead of now

_HOUR: Final = 3600.0
_WEEK: Final = 7 * 86_400.0

_ORDERS: Final = 100  # in 3 hours, for each CA
_FOR_DOMAIN: Final = 40  # in a week, for the first names below one domain
_FOR_SAME: Final = 4  # in a week, or in twice the lifetime of a certificate, for the same set of names


class _Order(msgspec.Struct, frozen=True):
    """An order that was begun: its time, CA and names, and whether it was a renewal."""

    at: float
    directory: str
    names: tuple[str, ...]
    renewal: bool = False
    issued: bool = False


def _issued(order: _Order) -> _Order:
    return msgspec.structs.replace(order, issued=True)


def registered_domain(name: str) -> str:
    """Return the last two labels of a name, which stand for the domain whose certificates a CA counts.

    For a public suffix of two labels, such as ``co.uk``, this counts too many names together, so the limit is only
    stricter.
    """
    return ".".join(name.removeprefix("*.").rsplit(".", 2)[-2:])


class Limits:
    """Counts orders. Those from the future, recorded while the clock was wrong, count once their time has come."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []

    def begin(self, now: float, directory: str, names: Iterable[str], *, renewal: bool) -> Callable[[], None]:
        """Record an order that begins. Return a function that records that its certificate was issued."""
        begun = _Order(now, directory, tuple(sorted(names)), renewal)
        self._orders = [order for order in self._orders if order.at > now - _WEEK]
        self._orders.append(begun)

        def issued() -> None:
            self._orders = [_issued(order) if order is begun else order for order in self._orders]

        return issued

    def wait(
        self, now: float, directory: str, names: Iterable[str], *, renewal: bool, lifetime: float = _WEEK
    ) -> tuple[float, str]:
        """Return how many seconds an order must wait, and the reason; ``(0, "")`` if it may begin.

        Args:
            now: seconds since 1970.
            directory: the CA's directory.
            names: the host names of the order.
            renewal: whether the order replaces a certificate for the same names.
            lifetime: seconds for which that certificate is valid. Private CAs issue certificates for a day.

        """
        wanted = tuple(sorted(names))
        ours = [it for it in self._orders if it.directory == directory and now - _WEEK < it.at <= now + CLOCK_ERROR]
        waits = [self._until(now, [order.at for order in ours if order.at > now - 3 * _HOUR], _ORDERS, 3 * _HOUR)]
        reasons = [f"{_ORDERS} orders in 3 hours"]
        window = min(_WEEK, 2 * lifetime)
        same = [order.at for order in ours if order.issued and order.names == wanted and order.at > now - window]
        waits.append(self._until(now, same, _FOR_SAME, window))
        span = "a week" if window == _WEEK else "twice their lifetime"
        reasons.append(f"{_FOR_SAME} certificates for the same names in {span}")
        for domain in () if renewal else {registered_domain(name) for name in wanted}:
            times = [
                order.at
                for order in ours
                if order.issued and not order.renewal and domain in map(registered_domain, order.names)
            ]
            waits.append(self._until(now, times, _FOR_DOMAIN, _WEEK))
            reasons.append(f"{_FOR_DOMAIN} new certificates for names below {domain} in a week")
        longest = max(waits)
        return (longest, reasons[waits.index(longest)]) if longest > 0 else (0.0, "")

    @staticmethod
    def _until(now: float, times: list[float], most: int, window: float) -> float:
        return sorted(times)[-most] + window - now if len(times) >= most else 0.0

    def dump(self) -> list[_Order]:
        """Return the orders as plain data, for :meth:`load`."""
        return list(self._orders)

    def load(self, orders: object) -> None:
        """Take over the orders of an earlier process.

        Raises:
            msgspec.ValidationError: they have another form.

        """
        self._orders = msgspec.convert(orders, list[_Order])
