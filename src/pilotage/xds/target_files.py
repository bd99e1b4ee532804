"""Puts the certificate files that a route names into the configuration of Envoys.

A file that a route file names is read by each Envoy itself. A file that a label names is read here, and its content is
sent, so that no symbolic link can be replaced between the check that it leads below an allowed folder and its use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.core.v3 import base_pb2

from pilotage.core.problems import Problem
from pilotage.policy import FILE_REFUSED, read_below

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.routes.route import Route

__all__ = ["FILE_RETRY", "data_source", "refused_aliases", "unreadable_files"]

FILE_RETRY: Final = 5.0
"""Seconds until a file that could not be read is tried again."""

_FIELDS: Final = ("ssl_trusted_certificate", "ssl_certificate", "ssl_certificate_key")


def unreadable_files(route: Route) -> tuple[Problem, ...]:
    """Return a problem if a label names a certificate file that may not or cannot be read now.

    Its message is the same for all reasons.
    """
    if route.scheme != "https" or route.folders is None:
        return ()
    for field in _FIELDS:
        path = getattr(route.settings, field)
        if path and read_below(path, route.folders) is None:
            hint = "the operator can check that it exists, is readable and is not a link to another folder"
            found = Problem(message=FILE_REFUSED, hint=hint, path=field)
            return (found.at(provider=route.provider, container=route.container, route=route.alias),)
    return ()


def refused_aliases(problems: Mapping[str, tuple[Problem, ...]]) -> set[str]:
    """Return the aliases of the routes that such a problem keeps out of service, given all problems of a snapshot."""
    found = (problem for mine in problems.values() for problem in mine)
    return {problem.route for problem in found if problem.message == FILE_REFUSED}


def data_source(route: Route, path: str) -> base_pb2.DataSource:
    """Return a file for Envoy: its name for a route from a file, its content for a container's route.

    Raises:
        ValueError: it may not or cannot be read.

    """
    if route.folders is None:
        return base_pb2.DataSource(filename=path)
    content = read_below(path, route.folders)
    if content is None:
        raise ValueError(FILE_REFUSED)
    return base_pb2.DataSource(inline_bytes=content)
