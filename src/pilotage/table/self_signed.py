"""Describes the routes that have only a self-signed certificate so far, for commands and the API. Pure."""

from __future__ import annotations

import time

import msgspec

__all__ = ["SelfSigned"]


class SelfSigned(msgspec.Struct, frozen=True, kw_only=True):
    """Host names of a route for which clients get a self-signed certificate until the CA issues one.

    Attributes:
        names: the host names, sorted.
        since: when clients first got the self-signed certificate, in seconds since 1970.
        error: why the last attempt to obtain a certificate failed; empty if none has failed.
        next_attempt: when the next attempt begins, in seconds since 1970; null if the last attempt has not failed.

    """

    names: tuple[str, ...]
    since: float
    error: str = ""
    next_attempt: float | None = None

    @property
    def remark(self) -> str:
        """The state in one sentence without a full stop."""
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        names = ", ".join(self.names)
        text = f"has had only a self-signed certificate for {names} since {since}"
        if not self.error:
            return f"{text}; the CA has not issued one yet"
        again = time.strftime("at %H:%M:%S", time.localtime(self.next_attempt)) if self.next_attempt else "soon"
        return f"{text}; the last attempt to obtain one from the CA failed: {self.error}; the next begins {again}"
