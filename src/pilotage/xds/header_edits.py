"""Reads the middlewares ``request`` and ``response``, which change headers. Pure.

It needs no package from the ``gateway`` extra.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pilotage.core.text import shorten_value
from pilotage.core.urlpaths import has_dot_segments
from pilotage.xds.combining import NO_EDITS, Edits, combined
from pilotage.xds.middleware_options import OptionReader
from pilotage.xds.variables import Upstream, VariableError, fixed

__all__ = ["PATH", "HeaderEdits"]

PATH: Final = re.compile(r"(?:(?![?#])[!-~])+")
"""A path as it may be in a request line, without a query."""
_SOME_UPSTREAM: Final = Upstream("app", "http", "10.0.0.1", "80", "10.0.0.1:80")
_AUTHORITY: Final = re.compile(r"[\w.~%:\[\]-]{1,255}", re.ASCII)


class HeaderEdits(OptionReader):
    """Reads the options of both middlewares into settings of a :class:`~pilotage.xds.middlewares.RoutePolicy`.

    Attributes:
        found: name of a setting -> its value.

    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Any] = {}

    def edits(self, options: dict[str, Any]) -> Edits:
        """Return the header changes of either middleware."""
        hide = tuple(name for name in self.texts(options, "hide_headers") if self.is_name(name, "hide_headers"))
        return Edits(self.pairs(options, "set_headers"), self.pairs(options, "add_headers"), hide)

    def request(self, options: dict[str, Any]) -> None:
        """Read the changes to requests."""
        edits = self.edits(options)
        for name, value in (*edits.put, *edits.add):
            if _is_host(name):
                self.host(value)
        put, add = (tuple(p for p in pairs if not _is_host(p[0])) for pairs in (edits.put, edits.add))
        if any(map(_is_host, edits.hide)):
            self.problem("the Host header cannot be removed", "remove it", option="hide_headers")
        hide = tuple(name for name in edits.hide if not _is_host(name))
        self.found["request"] = combined(self.found.get("request", NO_EDITS), Edits(put, add, hide))
        prefix = options.get("addprefix")
        if prefix and str(prefix).strip("/"):
            text = str(prefix).strip("/")
            if not PATH.fullmatch(text):
                hint = "percent-encode other characters, such as %20"
                self.problem(f"{shorten_value(text)!r} is not a valid path prefix", hint, option="add_prefix")
            elif has_dot_segments(text):  # these could lead out of an agent's path prefix
                what = f"the prefix {shorten_value(text)!r} has a segment '.' or '..'"
                self.restricts_access = True
                self.problem(what, "write it without them", option="add_prefix")
            else:
                self.found["prefix"] = f"/{text}" + self.found.get("prefix", "/")

    def host(self, value: str) -> None:
        """Set the Host header for the target. Envoy cannot compute it from a request."""
        if value in {"$req_addr", "$header(Host)"}:  # the client's, which Envoy keeps
            return
        try:
            known = fixed(value, _SOME_UPSTREAM)
        except VariableError as error:
            self.problem(f"{error.message}, so Host is not set", error.hint, option="set_headers")
            return
        if _AUTHORITY.fullmatch(known):
            self.found["host"] = value
        else:
            self.problem(
                "the value of Host is not a host name", "write a name such as app.internal", option="set_headers"
            )

    def answer(self, options: dict[str, Any]) -> None:
        """Read the changes to responses."""
        edits = self.edits(options)
        for option, names in (
            ("set_headers", [name for name, _ in edits.put]),
            ("add_headers", [name for name, _ in edits.add]),
            ("hide_headers", edits.hide),
        ):
            if any(map(_is_host, names)):
                self.problem("a response has no Host header", "remove it", option=option)
        put, add = (tuple(p for p in pairs if not _is_host(p[0])) for pairs in (edits.put, edits.add))
        changes = Edits(put, add, tuple(name for name in edits.hide if not _is_host(name)))
        self.found["answer"] = combined(self.found.get("answer", NO_EDITS), changes)


def _is_host(name: str) -> bool:
    return name.lower() == "host"
