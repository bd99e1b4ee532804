"""Decides when a certificate is renewed, and when a failed attempt is repeated. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["DEFAULT_SHARE", "Renewal", "back_off", "jitter_of", "renewal_time"]

DEFAULT_SHARE: Final = 2 / 3
"""The part of a certificate's lifetime after which it is renewed, unless the CA says otherwise."""

_JITTER: Final = 0.02
"""Renewals begin earlier by up to this part of the lifetime, so that certificates are not all renewed together."""

_PAUSES: Final = (60.0, 300.0, 900.0, 2700.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0)
"""Seconds after each failure in a row: four attempts in the first hour. Let's Encrypt allows five failed validations of
a name in an hour."""


class Renewal(msgspec.Struct, frozen=True):
    """When to renew a certificate, in seconds since 1970.

    Attributes:
        at: when to renew the certificate.
        ask_again: when to ask the CA again; 0 if the CA does not suggest times.
        by_ca: whether the CA suggested the time (ARI).

    """

    at: float
    ask_again: float = 0.0
    by_ca: bool = False


def jitter_of(serial: str) -> float:
    """Return a number from 0 to 1 that depends only on a certificate's serial number, so the time stays the same."""
    return int(serial[-8:] or "0", 16) / 0xFFFFFFFF


def renewal_time(not_before: float, not_after: float, jitter: float) -> float:
    """Return when to renew a certificate: at two thirds of its lifetime, or a little earlier.

    Args:
        not_before: start of the certificate's validity, in seconds since 1970.
        not_after: end of the certificate's validity, in seconds since 1970.
        jitter: a number from 0 to 1 that decides how much earlier, from :func:`jitter_of`.

    """
    lifetime = not_after - not_before
    return not_before + lifetime * (DEFAULT_SHARE - _JITTER * jitter)


def back_off(failures: int, retry_after: float = 0.0) -> float:
    """Return how many seconds to wait after a number of failures in a row.

    Args:
        failures: number of failures in a row, at least 1.
        retry_after: minimum number of seconds, as requested by the CA.

    """
    return max(_PAUSES[min(failures, len(_PAUSES)) - 1], retry_after)
