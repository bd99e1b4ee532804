"""Reads ``providers.agents``: the GoDoxy agents through which engines on other machines are reached.

An entry is an address, as in GoDoxy, or a mapping. The certificates for an agent are in ``certs/HOST:PORT.zip`` next to
the configuration, unless the agent's entry names other files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic import Field, ValidationError

from pilotage.config.serve import Section
from pilotage.core.errors import ConfigError
from pilotage.core.text import shorten
from pilotage.core.yaml import kind_name
from pilotage.engine.address import parse_address
from pilotage.engine.archive import check_credentials
from pilotage.engine.config import AGENT_SCHEME, DockerProviderConfig, TLSFiles
from pilotage.engine.credentials import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from pilotage.config.substitute import Path as DocumentPath

__all__ = ["read_agents"]

_PLACE: Final[DocumentPath] = ("providers", "agents")
_FOLDER: Final = "certs"
_PORT: Final = 8890
_LONGEST: Final = 200  # characters; an address plus an extension is the name of a file


class _Reader(Protocol):
    """The reader of the whole file, which collects problems and makes paths from file names."""

    def add_problem(self, path: DocumentPath, message: str, hint: str = "", *, at_key: bool = False) -> None: ...
    def add_agent_problem(self, path: DocumentPath, message: str, hint: str) -> None: ...
    def add(self, error: ValidationError, model: type[BaseModel], base: DocumentPath) -> None: ...
    def path(self, name: str) -> Path: ...


class _Agent(Section):
    """An entry of ``providers.agents`` in the mapping form."""

    addr: str
    name: str = Field(default="", max_length=100)
    certificates: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    idle: bool | None = None


def read_agents(value: Any, reader: _Reader) -> Iterator[DockerProviderConfig]:
    """Yield the configuration of the engine behind each agent. Report and skip malformed entries.

    A problem with an agent's certificates is reported, but the engine is still yielded, because the certificates may be
    replaced while pilotage runs.

    Args:
        value: the value of ``providers.agents``.
        reader: receives the problems, and makes paths from file names.

    """
    if isinstance(value, str):
        value = [value]
    if value is not None and not isinstance(value, list):
        reader.add_problem(_PLACE, f"a list of agents is needed here, not {kind_name(value)}", "write `- HOST:PORT`")
        return
    seen: set[str] = set()
    for number, item in enumerate(value or ()):
        place: DocumentPath = (*_PLACE, number)
        entry = _entry(item, place, reader)
        if entry is None or not _is_address(entry.addr, place, reader):
            continue
        if entry.addr in seen:
            reader.add_problem(place, f"the agent {entry.addr} is listed twice", "keep one")
            continue
        seen.add(entry.addr)
        if (files := _files(entry, place, reader)) is not None:
            yield DockerProviderConfig(f"{AGENT_SCHEME}{entry.addr}", files, entry.name or entry.addr, entry.idle)


def _entry(item: Any, place: DocumentPath, reader: _Reader) -> _Agent | None:
    if isinstance(item, str):
        return _Agent(addr=item)
    if not isinstance(item, dict):
        reader.add_problem(place, f"an agent cannot be {kind_name(item)}", f"write HOST:PORT, such as 10.0.0.2:{_PORT}")
        return None
    try:
        entry = _Agent.model_validate(item)
    except ValidationError as error:
        reader.add(error, _Agent, place)
        return None
    if entry.name and not (entry.name.removesuffix("!").strip() and entry.name.isprintable()):
        hint = "write a name such as attic; a ! at its end requires labels"
        reader.add_problem((*place, "name"), f"{entry.name!r} is not a valid name", hint)
        return None
    return entry


def _is_address(text: str, place: DocumentPath, reader: _Reader) -> bool:
    """Return whether a text is an agent's address that can be part of a file name; otherwise, add a problem."""
    valid = 0 < len(text) <= _LONGEST and "/" not in text
    try:
        parse_address(DockerProviderConfig(f"{AGENT_SCHEME}{text}"))
    except ConfigError:
        valid = False
    if not valid:
        hint = f"write HOST:PORT, such as {text or '10.0.0.2'}:{_PORT}" if ":" not in text else "write HOST:PORT"
        reader.add_problem(place, f"{shorten(text)!r} is not the address of an agent", hint)
    return valid


def _files(entry: _Agent, place: DocumentPath, reader: _Reader) -> TLSFiles | None:
    """Return an agent's certificate files. If the file names are invalid, add a problem and return ``None``."""
    given: Mapping[str, str] = {key: getattr(entry, key) for key in ("ca_file", "cert_file", "key_file")}
    separate = [key for key, name in given.items() if name]
    if "\0" in "".join((*given.values(), entry.certificates)):
        reader.add_problem(place, "the name of a file contains a null character", "write another name")
        return None
    if separate and entry.certificates:
        message = f"{separate[0]} and certificates cannot be combined"
        reader.add_problem((*place, separate[0]), message, "remove one of them", at_key=True)
        return None
    if separate and len(separate) < len(given):
        missing = next(key for key in given if key not in separate)
        reader.add_problem((*place, missing), f"{missing} is missing", f"add {missing}, or remove {separate[0]}")
        return None
    if separate:
        ca, cert, key = (str(reader.path(name)) for name in given.values())
        files = TLSFiles(ca_file=ca, cert_file=cert, key_file=key)
    else:
        name = entry.certificates or f"{_FOLDER}/{entry.addr}.zip"
        files = TLSFiles(zip_file=str(reader.path(name)))
    try:
        check_credentials(files)
    except CredentialsError as error:
        reader.add_agent_problem(place, error.what, error.remedy)
    return files
