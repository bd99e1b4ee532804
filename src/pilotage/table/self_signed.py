"""Defines which routes have only a self-signed certificate so far, as commands and the API show it. Pure."""

from __future__ import annotations

import time

import msgspec

__all__ = ["SelfSigned"]


class SelfSigned(msgspec.Struct, frozen=True, kw_only=True):
    """Host names of a route that are served with a self-signed certificate until the CA has issued one.

    Attributes:
        names: the host names, sorted.
        since: Unix time in seconds from which they have been served so.
        error: why the last attempt to obtain a certificate failed; empty if none has failed.
        next_attempt: Unix time in seconds of the next attempt; null if the last one has not failed.

    """

    names: tuple[str, ...]
    since: float
    error: str = ""
    next_attempt: float | None = None

    @property
    def remark(self) -> str:
        """The state in one sentence without a full stop."""
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        text = (
            f"serves a self-signed certificate for {', '.join(self.names)} since {since}, until the CA has issued one"
        )
        if not self.error:
            return text
        again = time.strftime("%H:%M:%S", time.localtime(self.next_attempt)) if self.next_attempt else "soon"
        return f"{text}; the last attempt failed: {self.error}; next attempt {again}"
