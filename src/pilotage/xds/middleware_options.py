"""Reads the options of middlewares: texts, header names and values, networks, numbers. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

from pilotage.core.problems import Problem
from pilotage.core.secrets import HIDDEN, holds_secret, shown_name
from pilotage.core.text import shorten_value
from pilotage.core.values import ParseError, comma_list
from pilotage.core.yaml import bare, parse_yaml
from pilotage.routes.fields import scalar_text
from pilotage.xds.variables import VariableError, expand

if TYPE_CHECKING:
    from pilotage.core.problems import Severity
    from pilotage.xds.combining import Pairs

__all__ = ["OptionReader"]


class OptionReader:
    """Reads options, and collects the problems with them.

    Attributes:
        problems: the problems so far.
        servable: whether the route may be served despite the problems.
        path: the place of the middleware that is being read.
        restricts_access: whether this middleware restricts access, so that the route must not be served without it.
        of_response: whether this middleware changes responses.

    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.servable = True
        self.path = ""
        self.restricts_access = False
        self.of_response = False

    def problem(self, message: str, hint: str = "", *, option: str = "", harmless: bool = False) -> None:
        """Report a problem with the middleware or one of its options. A ``harmless`` one is a warning."""
        path = f"{self.path}.{option}" if option else self.path
        severity: Severity = "warning" if harmless and not self.restricts_access else "error"
        self.problems.append(Problem(message=message, hint=hint, path=path, severity=severity))
        if self.restricts_access:
            self.servable = False

    def texts(self, options: dict[str, Any], option: str) -> tuple[str, ...]:
        """Return an option that is a list, written in YAML or as text with commas."""
        value = options.get(option.replace("_", ""))
        if isinstance(value, str):
            if value.lstrip()[:1] in ("-", "["):
                value = self.document(value, option)
            elif not holds_secret(value):  # its parts would not be recognized as secret
                value = comma_list(value)
        if value is None:
            return ()
        if not isinstance(value, list):
            value = [value]
        texts = (HIDDEN if isinstance(item, dict | list) else str(item).strip() for item in value if item is not None)
        return tuple(filter(None, texts))

    def pairs(self, options: dict[str, Any], option: str) -> Pairs:
        """Return an option that maps header names to values. Invalid headers are reported and left out."""
        value = options.get(option.replace("_", ""))
        if isinstance(value, str):
            value = self.document(value, option)
        if value is None:
            return ()
        # GoDoxy's documentation shows lists of mappings, too.
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            self.problem("expected lines such as 'Name: value'", option=option)
            return ()
        found: dict[str, str] = {}
        for name, content in (pair for mapping in mappings for pair in mapping.items()):
            if name in found:
                self.problem(f"the header {shown_name(name)} is set twice", "write one line for it", option=option)
                continue
            if isinstance(content, dict | list):
                self.problem(f"the value of {shown_name(name)} is not text", "write 'Name: value'", option=option)
                continue
            text = scalar_text(content) or ""
            if self.is_name(name, option) and self.is_free(name, option) and self.is_value(name, text, option):
                found[name] = text
        return tuple(found.items())

    def document(self, text: str, option: str) -> Any:
        """Parse an option that is written as YAML in a text."""
        try:
            read = parse_yaml(text)
        except ParseError as error:
            self.problem(error.message, option=option)
            return None
        return bare(read) if read is not None else None

    def is_name(self, name: str, option: str) -> bool:
        """Return whether a header name is valid; report it if not."""
        if _TOKEN.fullmatch(name) and len(name) <= _LONGEST_TEXT:
            return True
        self.problem(f"{shown_name(name)!r} is not a valid header name", option=option)
        return False

    def is_free(self, name: str, option: str) -> bool:
        """Return whether a header may be changed; report it if not."""
        if name.lower() not in _FRAMING:
            return True
        self.problem(
            f"{shorten_value(name)!r} is set by the gateway on every request and response", "remove it", option=option
        )
        return False

    def is_value(self, name: str, text: str, option: str) -> bool:
        """Return whether a header value is valid; report it if not."""
        if any((ord(c) < 0x20 and c != "\t") or c == "\x7f" for c in text):
            self.problem(f"the value of {name} is not a valid header value", "keep it on one line", option=option)
            return False
        try:
            expanded = expand(text, response=self.of_response)
        except VariableError as error:
            self.problem(f"{error.message}, so {name} is not set", error.hint, option=option)
            return False
        if len(expanded.encode()) > _LONGEST_TEXT:
            message = f"a header value of {len(text.encode())} bytes is too long for Envoy"
            self.problem(message, "keep it below 16 kB", option=option)
            return False
        return True

    def networks(self, options: dict[str, Any], option: str) -> tuple[str, ...]:
        """Return an option that lists networks. Invalid ones are reported and left out."""
        found = []
        for text in self.texts(options, option):
            try:
                found.append(str(ipaddress.ip_network(text, strict=False)))
            except ValueError:
                self.problem(f"{shorten_value(text)!r} is not a network", "write one such as 10.0.0.0/8", option=option)
        return tuple(found)

    def count(self, options: dict[str, Any], option: str, default: int) -> int:
        """Return an option that is a positive number; ``default`` if it is missing or invalid."""
        text = str(options.get(option, default))
        if re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
            return int(text)
        self.problem(f"{shorten_value(text)!r} is not a whole number from 1 to 999999999", option=option)
        return default


_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]+")
_LONGEST_TEXT: Final = 16_384
"""Maximum bytes of a header name or value in the configuration of Envoy."""
_FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "x-pilotage-route",
    }
)
"""Headers for message framing and connections. A wrong value makes requests hang or allows request smuggling."""
