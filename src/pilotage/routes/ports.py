"""The field ``port``: one number, or a listening and a target port. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.routes.fields import UNSET, FieldContext, Nested, scalar_text

if TYPE_CHECKING:
    from pilotage.core.yaml import Located
    from pilotage.labels.decode import Spelling

__all__ = ["Port", "PortPair"]

_HIGHEST: Final = 65535


class PortPair(msgspec.Struct, frozen=True):
    """The two ports of a route; 0 stands for automatic.

    Attributes:
        listening: where the proxy listens, for tcp and udp.
        proxy: where the target listens.

    """

    listening: int = 0
    proxy: int = 0


class Port(Nested):
    """``8080``, ``:8080`` or ``2222:22``; or a mapping with ``listening`` and ``proxy``."""

    name = "port"

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        return name.lower(), None, False

    def read(self, value: Located, to: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, dict):
            return self._mapping(given, to)
        text = scalar_text(given)
        if text is None or isinstance(given, bool | float):
            return self.wrong(value, to)
        first, colon, rest = text.partition(":")
        if ":" in rest:
            to.fault(value, f"{shorten(text)!r}: too many colons; write [listening:]target")
            return UNSET
        if not colon:
            return PortPair(0, self._number(first, value, to))
        listening = self._number(first, value, to) if first else 0
        return PortPair(listening, self._number(rest, value, to))

    def _mapping(self, given: dict[str, Located], to: FieldContext) -> PortPair:
        found = {"listening": 0, "proxy": 0}
        path = to.path
        for key, value in given.items():
            to.path = f"{path}.{key}"
            text = scalar_text(value.value)
            if key not in found:
                to.fault(value, "unknown field", did_you_mean(key, found) or "listening or proxy", at_key=True)
            elif text:
                found[key] = self._number(text, value, to)
        to.path = path
        return PortPair(**found)

    def _number(self, text: str, value: Located, to: FieldContext) -> int:
        """Return a port's number; 0, reported, for what is none."""
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            part = f"{text!r} in {shorten(value.value)!r}" if text != value.value else repr(shorten(text))
            to.fault(value, f"{part} is not a port number", "a port is a number from 1 to 65535; 0 is automatic")
            return 0
        number = int(text)
        if 0 <= number <= _HIGHEST:
            return number
        # A negative number cannot have been meant as any port, nor as automatic: the reference refuses the route.
        to.fatal = to.fatal or number < 0
        to.fault(value, f"port {number} is out of range", "a port is a number from 1 to 65535; 0 is automatic")
        return 0

    def dump(self, name: str, value: PortPair) -> tuple[str, Any]:
        return name, {"listening": value.listening, "proxy": value.proxy}
