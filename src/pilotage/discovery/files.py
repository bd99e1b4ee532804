"""Finds route files by name or pattern, reads them and watches them.

A file that becomes unreadable keeps its previous routes and reports a problem. The same applies to the files in a
folder that can no longer be listed or entered. A deleted file loses its routes. An error in one file or folder does not
affect the others.
"""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import glob
import logging
import os
import stat
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.discovery.host_addresses import HostAddresses
from pilotage.routes.build import RESERVED_PORTS
from pilotage.routes.file import RouteFile, read_route_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pilotage.policy import GatewayCheck

__all__ = ["FileWatcher", "read_files"]

log = logging.getLogger(__name__)

_POLL: Final = 5.0  # seconds between reads if the system reports no changes
_STEP: Final = 50  # milliseconds; editors write a file in several steps
_DEBOUNCE: Final = 500  # milliseconds; maximum wait until a file stops changing


def read_files(
    patterns: Iterable[str],
    *,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
    gateway: GatewayCheck | None = None,
) -> tuple[RouteFile, ...]:
    """Read route files once.

    Args:
        patterns: file names or patterns such as ``routes.d/*.yml``.
        reserved_ports: ports on this host that the proxy itself uses.
        gateway: decides which routes the gateway cannot serve; ``None`` if there is no gateway.

    Returns:
        The files, in the order of the patterns and then by name. A missing or unreadable file has a problem that says
        so. If the folder in a pattern cannot be listed, the folder itself is returned as a file with such a problem.

    """
    watcher = FileWatcher(patterns, reserved_ports=reserved_ports, gateway=gateway)
    watcher.read()
    return tuple(watcher.files.values())


class FileWatcher:
    """Reads route files and reports changes.

    Args:
        patterns: file names or patterns such as ``routes.d/*.yml``.
        on_change: receives the name and content of each new or changed file; the content is ``None`` if the file was
            deleted.
        reserved_ports: ports on this host that the proxy itself uses.
        gateway: decides which routes the gateway cannot serve; ``None`` if there is no gateway.
        known: previously reported files. A file that is now unreadable keeps its routes. A file that no longer matches
            a pattern is reported as deleted.

    Attributes:
        files: name -> content, in the order of the patterns.

    """

    def __init__(
        self,
        patterns: Iterable[str],
        on_change: Callable[[str, RouteFile | None], None] | None = None,
        *,
        reserved_ports: frozenset[int] = RESERVED_PORTS,
        gateway: GatewayCheck | None = None,
        known: Mapping[str, RouteFile] | None = None,
    ) -> None:
        self.patterns = tuple(patterns)
        self._on_change = on_change
        self.reserved_ports = reserved_ports
        self._gateway = gateway
        self._is_local = HostAddresses().has
        self.files: dict[str, RouteFile] = dict(known or {})
        self._texts: dict[str, _Content] = {}

    def read(self) -> None:
        """Read every file and report each change."""
        folders: dict[str, Problem] = {}  # folders that could not be listed
        names = list(dict.fromkeys(self._names(folders)))
        kept = [name for name in self.files if name not in names and self._may_exist(name, folders)]
        names += [*kept, *(folder for folder in folders if folder not in names)]
        for name in [known for known in self.files if known not in names]:
            del self.files[name]
            self._texts.pop(name, None)
            self._report(name, None)
        for name in names:
            if name not in kept:
                self._update(name, _Content(problem=folders[name]) if name in folders else _content(name))
        self.files = {name: self.files[name] for name in names}

    def _update(self, name: str, found: _Content) -> None:
        if self._texts.get(name) == found:
            return
        self._texts[name] = found
        old, new = self.files.get(name), self._read(name, found)
        self.files[name] = new
        if new != old:
            self._report(name, new)

    def _report(self, name: str, file: RouteFile | None) -> None:
        if self._on_change is not None:
            self._on_change(name, file)

    def _names(self, folders: dict[str, Problem]) -> Iterator[str]:
        for pattern in self.patterns:
            if glob.has_magic(pattern):
                yield from sorted(filter(_may_be_file, _expand(pattern, folders)))
            else:
                yield pattern

    def _may_exist(self, name: str, folders: Mapping[str, Problem]) -> bool:
        """Return whether a known file may still exist: it matches a pattern, but its folder could not be listed."""
        if not any(Path(name).is_relative_to(folder) for folder in folders):
            return False
        parts = Path(name).parts
        wanted = (Path(pattern).parts for pattern in self.patterns)
        return any(len(parts) == len(each) and all(map(fnmatch.fnmatchcase, parts, each)) for each in wanted)

    def _read(self, name: str, found: _Content) -> RouteFile:
        if found.problem is not None:
            new = RouteFile(name, problems=(found.problem,), is_whole=False)
        else:
            new = self._parse(name, found.text)
        old = self.files.get(name)
        if new.is_whole or old is None or not old.routes or found.is_missing:
            return new
        kept = "its previous routes are kept"
        problems = [msgspec.structs.replace(p, hint=f"{p.hint}; {kept}" if p.hint else kept) for p in new.problems]
        return msgspec.structs.replace(old, problems=tuple(problems), is_whole=False)

    def _parse(self, name: str, text: str) -> RouteFile:
        try:
            return read_route_file(
                text, name, reserved_ports=self.reserved_ports, is_local=self._is_local, gateway=self._gateway
            )
        except Exception as error:  # one file must not stop the others
            log.debug("route file %s", name, exc_info=error)
            problem = Problem(message=f"internal error: {error!r}", hint="please report it", file=name)
            return RouteFile(name, problems=(problem,), is_whole=False)

    async def run(self) -> None:
        """Watch the files until cancelled. Read them after each change, and every few seconds in any case."""
        while True:
            try:
                self.read()
                await self._wait_for_change()
            except Exception as error:  # noqa: BLE001  # no inotify watches left, a deleted directory, ...
                log.debug("polling route files every %g s: %s", _POLL, error)
                await asyncio.sleep(_POLL)

    async def _wait_for_change(self) -> None:
        """Reread the files after each change in their directories. Return when the set of directories changes."""
        directories = self._directories()
        if not directories:
            await asyncio.sleep(_POLL)
            return
        from watchfiles import awatch  # noqa: PLC0415  # imported only if there are files to watch

        changes = awatch(
            *directories,
            recursive=False,
            watch_filter=None,
            step=_STEP,
            debounce=_DEBOUNCE,
            rust_timeout=int(_POLL * 1000),
            yield_on_timeout=True,
        )
        async with aclosing(changes):
            async for _ in changes:
                self.read()
                if self._directories() != directories:
                    return

    def _directories(self) -> list[str]:
        """Return the directories to watch: those that contain the files or may contain them later.

        Directories that this user may not read are left out, because the system reports no changes in them. They are
        only polled.
        """
        found: set[str] = set()
        for pattern in self.patterns:
            parent = os.path.dirname(pattern) or os.curdir  # noqa: PTH120  # keeps the spelling
            found |= set(glob.glob(parent)) if glob.has_magic(parent) else {parent}  # noqa: PTH207
        return sorted(
            folder for folder in found if os.access(folder, os.R_OK | os.X_OK) and _mode(folder, stat.S_IFDIR)
        )


class _Content(msgspec.Struct, frozen=True):
    """The text of a file, or the problem that prevents reading it."""

    text: str = ""
    problem: Problem | None = None
    is_missing: bool = False


_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def _content(name: str) -> _Content:
    try:
        return _Content(read_text(Path(name)))
    except UnreadableFile as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in _ABSENT:
            hint = "check the name under providers.files; in a container, also check that the file is mounted"
            return _Content(problem=Problem(message="no such file", hint=hint, file=name), is_missing=True)
        if isinstance(cause, OSError):
            return _Content(problem=_unreadable(name, "read", cause))
        return _Content(problem=Problem(message=error.message, hint=error.hint, file=name))


def _unreadable(name: str, verb: str, error: Exception) -> Problem:
    """Describe why a file or folder cannot be read or listed."""
    why = (isinstance(error, OSError) and error.strerror) or str(error)
    if isinstance(error, ValueError) and "\0" in name:
        why = "its name contains a null character"
    hint = ""
    if isinstance(error, PermissionError):
        hint = f"let the user with ID {os.geteuid()} read the file and enter every folder above it"
        if verb == "listed":
            hint = f"let the user with ID {os.geteuid()} read and enter the folder (chmod u+rx)"
    return Problem(message=f"cannot be {verb}: {why}", hint=hint, file=name)


def _mode(name: str, kind: int) -> bool | None:
    """Return whether a file is of a given type; ``None`` if that cannot be determined."""
    try:
        return stat.S_IFMT(os.stat(name).st_mode) == kind  # noqa: PTH116
    except (OSError, ValueError) as error:
        return False if isinstance(error, OSError) and error.errno in _ABSENT else None


def _may_be_file(name: str) -> bool:
    """Return whether a name belongs to a regular file; also True if this user cannot find out."""
    return _mode(name, stat.S_IFREG) is not False


def _expand(pattern: str, failed: dict[str, Problem]) -> list[str]:
    """Return the names that match a pattern, like :func:`glob.glob`.

    Args:
        pattern: file name pattern. ``**`` is the same as ``*``.
        failed: receives folder -> problem for each folder that could not be listed. ``glob`` would treat it as empty.

    """
    parent, base = os.path.split(pattern)
    parents = _expand(parent, failed) if glob.has_magic(parent) else [parent]
    if not glob.has_magic(base):
        return [os.path.join(each, base) for each in parents]  # noqa: PTH118  # keeps the spelling
    found: list[str] = []
    for each in parents:
        try:
            entries = os.listdir(each or os.curdir)  # noqa: PTH208
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError) or error.errno not in _ABSENT:
                failed[each or os.curdir] = _unreadable(each or os.curdir, "listed", error)
            continue
        hidden = base.startswith(".")
        names = fnmatch.filter((name for name in entries if hidden or not name.startswith(".")), base)
        found += [os.path.join(each, name) for name in names]  # noqa: PTH118
    return found
