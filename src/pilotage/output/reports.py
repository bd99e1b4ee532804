"""Formats problems in files for other programs: GitHub's workflow commands, and SARIF 2.1.0. Pure.

File names and messages may contain any text, so both are escaped. See GitHub's "Workflow commands for GitHub Actions",
and OASIS "Static Analysis Results Interchange Format (SARIF) Version 2.1.0".
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pilotage.core.text import escape, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pilotage.core.problems import Problem

__all__ = ["github_commands", "sarif_log"]

_RULES: Final = {
    "compose": "Compose files and their labels",
    "configuration": "pilotage.yml",
    "routes": "Route files",
    "middlewares": "Files of middlewares",
    "unreadable": "Files that cannot be read",
}
_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_DOCUMENTATION: Final = "https://pypi.org/project/pilotage/"


def github_commands(problems: Sequence[Problem], folder: str) -> Iterator[str]:
    """Yield one workflow command per problem, which GitHub shows beside the line of the file.

    Args:
        problems: the problems.
        folder: the current folder, in which the job checked out the repository.

    """
    for problem in problems:
        place = {"file": _relative(problem.file, folder), "line": problem.line, "col": problem.column}
        properties = ",".join(f"{name}={_property(str(value))}" for name, value in place.items() if value)
        yield f"::{problem.severity} {properties}{',' if properties else ''}title=pilotage::{_data(_text(problem))}"


def _data(text: str) -> str:
    return escape(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _text(problem: Problem) -> str:
    """Return message and hint, and the place inside the file: service, label or route, and path."""
    inner = [part for part in problem.place.split(": ")[bool(problem.file) :] if part]
    text = ": ".join([*inner, problem.message])
    return printable(f"{text}; {problem.hint}" if problem.hint else text)


def _relative(name: str, folder: str) -> str:
    """Return a file's name relative to the current folder, if it is below it."""
    path = os.path.normpath(name) if name else ""
    return path.removeprefix(f"{folder}{os.sep}")


def sarif_log(files: Mapping[str, str], problems: Sequence[Problem], folder: str, version: str) -> dict[str, Any]:
    """Return a SARIF log with one run.

    Args:
        files: file name -> detected type, as in :class:`pilotage.lint.check.Checked`. The types are the rules.
        problems: the problems.
        folder: the current folder, for relative names.
        version: the version of pilotage.

    """
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    driver = {"name": "pilotage", "version": version, "informationUri": _DOCUMENTATION, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "artifacts": [{"location": {"uri": _uri(name, folder)}} for name in files],
        "results": [_result(problem, files, folder) for problem in problems],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(problem: Problem, files: Mapping[str, str], folder: str) -> dict[str, Any]:
    rule = files.get(problem.file, "compose" if problem.file else "configuration")
    result = {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": problem.severity,
        "message": {"text": _text(problem)},
    }
    file = problem.file or next(iter(files), "")  # GitHub shows no result without a location
    if file:
        location: dict[str, Any] = {"artifactLocation": {"uri": _uri(file, folder)}}
        if problem.line:
            location["region"] = {"startLine": problem.line}
            if problem.column:
                location["region"]["startColumn"] = problem.column
        result["locations"] = [{"physicalLocation": location}]
    return result


def _uri(name: str, folder: str) -> str:
    """Return a relative reference (RFC 3986), or a file URI for a file outside the current folder."""
    path = _relative(name, folder)
    if os.path.isabs(path):  # noqa: PTH117  # a name, maybe not of this machine
        return f"file://{quote(path, errors='surrogateescape')}"
    return quote(path, errors="surrogateescape")
