"""Defines the field ``port``: one number, or a listening port and a target port. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.secrets import SHOWN, Visibility
from pilotage.labels.key_schema import KeySchema
from pilotage.routes.fields import UNSET, FieldContext, Kind, scalar_text

if TYPE_CHECKING:
    from pilotage.core.yaml import Located

__all__ = ["Port", "PortPair"]

_HIGHEST: Final = 65535


class PortPair(msgspec.Struct, frozen=True):
    """The two ports of a route; 0 means automatic.

    Attributes:
        listening: the port on which the proxy listens for a tcp or udp route.
        proxy: the port on which the target listens.

    """

    listening: int = 0
    proxy: int = 0


class Port(Kind):
    """``8080``, ``:8080`` or ``2222:22``; or a mapping with ``listening`` and ``proxy``."""

    name = "port"
    keys = KeySchema(lower=True)
    visible = Visibility(shown=True, fields={"listening": SHOWN, "proxy": SHOWN})

    def read(self, value: Located, context: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, dict):
            return self._mapping(given, context)
        text = scalar_text(given)
        if text is None or isinstance(given, bool | float):
            return self.wrong(value, context)
        first, colon, rest = text.partition(":")
        if ":" in rest:
            context.error(value, f"{context.shorten(text)!r}: too many colons; write [listening:]target")
            return UNSET
        before = context.errors
        listening = self._number(first, value, context) if colon and first else 0
        target = self._number(rest if colon else first, value, context)
        # If half of a value is invalid, none of it takes effect (decision 35).
        return PortPair(listening, target) if context.errors == before else UNSET

    def _mapping(self, given: dict[str, Located], context: FieldContext) -> Any:
        found = {"listening": 0, "proxy": 0}
        path, before = context.path, context.errors
        for key, value in given.items():
            context.path = f"{path}.{key}"
            text = scalar_text(value.value)
            if key not in found:
                hint = context.did_you_mean(key, found) or "listening or proxy"
                context.error(value, "unknown field", hint, at_key=True)
            elif isinstance(value.value, dict | list | bool):
                self.wrong(value, context)
            elif text:
                found[key] = self._number(text, value, context)
        context.path = path
        return PortPair(**found) if context.errors == before else UNSET

    def _number(self, text: str, value: Located, context: FieldContext) -> int:
        """Return the port number in a text. Report an error and return 0 if the text is not a port number."""
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            whole = str(value.value)
            part = repr(context.shorten(whole))
            if text != whole and not context.budget.holds_secret(whole):  # part of a secret must not be shown
                part = f"{context.shorten(text)!r} in {part}"
            context.error(
                value, f"{part} is not a port number", "a port is a number from 1 to 65535, or 0 for automatic"
            )
            return 0
        number = int(text)
        if 0 <= number <= _HIGHEST:
            return number
        # A negative number is neither a port nor "automatic". GoDoxy rejects such a route.
        context.refused = context.refused or number < 0
        context.error(value, f"port {number} is out of range", "a port is a number from 1 to 65535, or 0 for automatic")
        return 0

    def dump(self, name: str, value: PortPair) -> tuple[str, Any]:
        return name, {"listening": value.listening, "proxy": value.proxy}
