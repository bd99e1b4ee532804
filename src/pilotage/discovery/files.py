"""Route files: found by name or pattern, read, and watched.

A file that becomes unreadable keeps its previous routes and reports a problem. A deleted file loses its routes.
"""

from __future__ import annotations

import asyncio
import glob
import logging
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.routes.build import RESERVED_PORTS
from pilotage.routes.file import RouteFile, read_route_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["FileWatcher", "read_files"]

log = logging.getLogger(__name__)

_POLL: Final = 5.0  # seconds between reads if the system reports no changes
_STEP: Final = 50  # milliseconds; editors write a file in several steps
_DEBOUNCE: Final = 500  # milliseconds; upper limit of waiting for a quiet file


def read_files(patterns: Iterable[str], *, reserved_ports: frozenset[int] = RESERVED_PORTS) -> tuple[RouteFile, ...]:
    """Read route files once.

    Args:
        patterns: file names or patterns such as ``routes.d/*.yml``.
        reserved_ports: ports of this host that the proxy itself uses.

    Returns:
        The files, in the order of the patterns and then by name. A missing file has a problem that says so.

    """
    watcher = FileWatcher(patterns, reserved_ports=reserved_ports)
    watcher.read()
    return tuple(watcher.files.values())


class FileWatcher:
    """Reads route files and reports changes.

    Args:
        patterns: file names or patterns such as ``routes.d/*.yml``.
        on_change: receives the name and content of each new or changed file, ``None`` for a deleted one.
        reserved_ports: ports of this host that the proxy itself uses.
        known: previously reported files. An unreadable one keeps its routes; one that is no longer matched is deleted.

    Attributes:
        files: name -> content, in the order of the patterns.

    """

    def __init__(
        self,
        patterns: Iterable[str],
        on_change: Callable[[str, RouteFile | None], None] | None = None,
        *,
        reserved_ports: frozenset[int] = RESERVED_PORTS,
        known: Mapping[str, RouteFile] | None = None,
    ) -> None:
        self.patterns = tuple(patterns)
        self._on_change = on_change
        self.reserved_ports = reserved_ports
        self.files: dict[str, RouteFile] = dict(known or {})
        self._texts: dict[str, str | Problem] = {}

    def read(self) -> None:
        """Read every file and report each change."""
        names = list(dict.fromkeys(self._names()))
        for name in [known for known in self.files if known not in names]:
            del self.files[name]
            self._texts.pop(name, None)
            self._report(name, None)
        for name in names:
            found = _text(name)
            if self._texts.get(name) == found:
                continue
            self._texts[name] = found
            old, new = self.files.get(name), self._read(name, found)
            self.files[name] = new
            if new != old:
                self._report(name, new)
        self.files = {name: self.files[name] for name in names}

    def _report(self, name: str, file: RouteFile | None) -> None:
        if self._on_change is not None:
            self._on_change(name, file)

    def _names(self) -> Iterator[str]:
        for pattern in self.patterns:
            if glob.has_magic(pattern):
                yield from sorted(name for name in glob.glob(pattern) if Path(name).is_file())  # noqa: PTH207  # Path.glob changes the spelling
            else:
                yield pattern

    def _read(self, name: str, found: str | Problem) -> RouteFile:
        if isinstance(found, Problem):
            new = RouteFile(name, problems=(found,), is_whole=False)
        else:
            new = read_route_file(found, name, reserved_ports=self.reserved_ports)
        old = self.files.get(name)
        if new.is_whole or old is None or not old.routes or not Path(name).exists():
            return new
        kept = "its previous routes stay in force"
        problems = [msgspec.structs.replace(p, hint=f"{p.hint}; {kept}" if p.hint else kept) for p in new.problems]
        return msgspec.structs.replace(old, problems=tuple(problems), is_whole=False)

    async def run(self) -> None:
        """Watch until cancelled. If the system reports no changes, read the files every few seconds."""
        while True:
            self.read()
            try:
                await self._wait_for_change()
            except Exception as error:  # noqa: BLE001  # no inotify watches left, a deleted directory, ...
                log.debug("polling route files every %g s: %s", _POLL, error)
                await asyncio.sleep(_POLL)

    async def _wait_for_change(self) -> None:
        """Read the files after each change in their directories; return if the set of directories changes."""
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
        """Return the existing directories that contain the files or may contain them later."""
        found = {str(Path(pattern).parent) for pattern in self.patterns if not glob.has_magic(pattern)}
        for pattern in filter(glob.has_magic, self.patterns):
            parent = str(Path(pattern).parent)
            found |= set(glob.glob(parent)) if glob.has_magic(parent) else {parent}  # noqa: PTH207
        return sorted(folder for folder in found if Path(folder).is_dir())


def _text(name: str) -> str | Problem:
    """Return the text of a file, or the problem that prevents reading it."""
    path = Path(name)
    try:
        return read_text(path)
    except UnreadableFile as error:
        if isinstance(error.__cause__, FileNotFoundError):
            hint = "check the name under providers.files, and in a container, that the file is mounted"
            return Problem(message="no such file", hint=hint, file=name)
        return Problem(message=error.message, hint=error.hint, file=name)
