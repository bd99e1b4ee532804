"""Puts the certificate files in a route's settings into the configuration of Envoys.

Each Envoy itself reads the files named in a route file. A file named in a label is read here, whenever its route is
checked, and Envoys get its content. Replacing a symbolic link after the check therefore has no effect, and a file that
disappears affects only its own route.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from envoy.config.core.v3 import base_pb2

from pilotage.core.problems import Problem
from pilotage.core.text import shorten_value
from pilotage.policy import FILE_REFUSED, ROOT_REFUSED, is_below, read_below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.routes.route import Route
    from pilotage.xds.backend import Backend

__all__ = ["FILE_RETRY", "LabelFiles", "data_source"]

FILE_RETRY: Final = 5.0
"""Seconds until a file that could not be read is tried again."""

_FIELDS: Final = ("ssl_trusted_certificate", "ssl_certificate", "ssl_certificate_key")


class LabelFiles:
    """The contents of the files named in labels, as they were when their routes were last checked.

    Attributes:
        refused: aliases of routes that are not served because a file must not or cannot be read.

    """

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self._contents: dict[str, dict[str, bytes]] = {}  # alias -> path -> content

    @property
    def aliases(self) -> set[str]:
        """Aliases of the routes whose labels refer to files."""
        return self.refused | self._contents.keys()

    def read(self, route: Route) -> tuple[Problem, ...]:
        """Read the files of a route; return a problem if a file must not or cannot be read now, otherwise nothing.

        The problem's message does not reveal whether the file must not be read or cannot be read.
        """
        alias = route.alias
        self.refused.discard(alias)
        if route.scheme == "fileserver":
            return self._check_root(route)
        found: dict[str, bytes] = {}
        for field in _FIELDS if route.scheme == "https" and route.folders is not None else ():
            path = getattr(route.settings, field)
            content = read_below(path, route.folders or ()) if path else None
            if content is not None:
                found[path] = content
            elif path:
                self.refused.add(alias)
                hint = "the operator can check that it exists, is readable and is not a link to another folder"
                problem = Problem(message=FILE_REFUSED, hint=hint, path=field)
                return (problem.at(provider=route.provider, container=route.container, route=alias),)
        if found:
            self._contents[alias] = found
        else:
            self._contents.pop(alias, None)
        return ()

    def _check_root(self, route: Route) -> tuple[Problem, ...]:
        """Return a problem if the folder of a file server does not exist or must not be published."""
        root = route.settings.root
        allowed = route.folders is None or is_below(root, route.folders)
        if allowed and Path(root).is_dir():
            return ()
        self.refused.add(route.alias)
        message = f"there is no folder {shorten_value(root)!r} that pilotage can read" if allowed else ROOT_REFUSED
        problem = Problem(message=message, hint="the operator can check that it exists and is a folder", path="root")
        return (problem.at(provider=route.provider, container=route.container, route=route.alias),)

    def forget(self, alias: str) -> None:
        """Forget the contents for a route that is no longer served."""
        self._contents.pop(alias, None)

    def inherit(self, other: LabelFiles, aliases: Iterable[str]) -> None:
        """Copy the contents for lingering routes from an earlier instance: these routes are not checked again."""
        self._contents |= {alias: other._contents[alias] for alias in aliases if alias in other._contents}

    def add_to(self, backend: Backend | None) -> Backend | None:
        """Return a backend with the contents of the files named in its route's labels."""
        found = self._contents.get(backend.route.alias) if backend is not None else None
        return msgspec.structs.replace(backend, files=found) if backend is not None and found else backend


def data_source(backend: Backend, path: str) -> base_pb2.DataSource:
    """Return the data source for a file: its path if the route is from a route file, its content if from a label.

    Raises:
        ValueError: the route is from labels, and the file has not been read.

    """
    if backend.route.folders is None:
        return base_pb2.DataSource(filename=path)
    if path not in backend.files:
        raise ValueError(FILE_REFUSED)
    return base_pb2.DataSource(inline_bytes=backend.files[path])
