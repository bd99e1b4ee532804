"""Files of routes beside the engines: found by name or pattern, read, and watched.

A file that cannot be read as a whole keeps the routes it had, and says what is wrong. One that is gone takes its routes
with it.
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
from pilotage.routes.build import RESERVED_PORTS
from pilotage.routes.file import RouteFile, read_route_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["FileWatcher", "read_files"]

log = logging.getLogger(__name__)

_LOOK: Final = 5.0  # seconds between two looks at all files where the system tells of no change
_STEP: Final = 50  # milliseconds without a change before the files are read: editors write in several steps
_DEBOUNCE: Final = 500  # milliseconds after which they are read all the same
_LARGEST: Final = 4 * 1024 * 1024  # bytes; what is larger was not written by hand


def read_files(patterns: Iterable[str], *, reserved_ports: frozenset[int] = RESERVED_PORTS) -> tuple[RouteFile, ...]:
    """Read all files of routes once.

    Args:
        patterns: names of files, or patterns such as ``routes.d/*.yml``.
        reserved_ports: ports of this host that belong to the proxy.

    Returns:
        The files in the order of the patterns, then by name. One that is named and is not there holds that problem.

    """
    watcher = FileWatcher(patterns, reserved_ports=reserved_ports)
    watcher.look()
    return tuple(watcher.files.values())


class FileWatcher:
    """Keeps what files say true.

    Args:
        patterns: names of files, or patterns such as ``routes.d/*.yml``.
        tell: called with the name of a file and what it says now, ``None`` when it is gone.
        reserved_ports: ports of this host that belong to the proxy.
        known: what files said before, as ``tell`` was told: these that are now faulty keep it, the others are gone.

    Attributes:
        files: name -> what it says, in the order of the patterns.

    """

    def __init__(
        self,
        patterns: Iterable[str],
        tell: Callable[[str, RouteFile | None], None] | None = None,
        *,
        reserved_ports: frozenset[int] = RESERVED_PORTS,
        known: Mapping[str, RouteFile] | None = None,
    ) -> None:
        self.patterns = tuple(patterns)
        self._sink = tell
        self.reserved_ports = reserved_ports
        self.files: dict[str, RouteFile] = dict(known or {})
        self._texts: dict[str, str | Problem] = {}

    def look(self) -> None:
        """Read every file; tell of each that is different from before."""
        names = list(dict.fromkeys(self._names()))
        for name in [known for known in self.files if known not in names]:
            del self.files[name]
            self._texts.pop(name, None)
            self._tell(name, None)
        for name in names:
            found = _text(name)
            if self._texts.get(name) == found:
                continue
            self._texts[name] = found
            old, new = self.files.get(name), self._read(name, found)
            self.files[name] = new
            if new != old:
                self._tell(name, new)
        self.files = {name: self.files[name] for name in names}

    def _tell(self, name: str, file: RouteFile | None) -> None:
        if self._sink is not None:
            self._sink(name, file)

    def _names(self) -> Iterator[str]:
        for pattern in self.patterns:
            if glob.has_magic(pattern):
                yield from sorted(name for name in glob.glob(pattern) if Path(name).is_file())  # noqa: PTH207  # keeps names as written
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
        stand = "its routes stay as they were"
        problems = [msgspec.structs.replace(p, hint=f"{p.hint}; {stand}" if p.hint else stand) for p in new.problems]
        return msgspec.structs.replace(old, problems=tuple(problems), is_whole=False)

    async def run(self) -> None:
        """Watch until cancelled. Where the system cannot tell of changes, the files are read every few seconds."""
        while True:
            self.look()
            try:
                await self._changed()
            except Exception as error:  # noqa: BLE001  # no inotify left, a folder that went: watchfiles raises many
                log.debug("files of routes are read every %g s: %s", _LOOK, error)
                await asyncio.sleep(_LOOK)

    async def _changed(self) -> None:
        """Return after something has changed in the folders of the files, or after a while."""
        folders = self._folders()
        if not folders:
            await asyncio.sleep(_LOOK)
            return
        from watchfiles import awatch  # noqa: PLC0415  # only where there are files to watch

        changes = awatch(
            *folders,
            recursive=False,
            watch_filter=None,
            step=_STEP,
            debounce=_DEBOUNCE,
            rust_timeout=int(_LOOK * 1000),
            yield_on_timeout=True,
        )
        async with aclosing(changes):
            async for _ in changes:
                self.look()
                if self._folders() != folders:
                    return

    def _folders(self) -> list[str]:
        """Return the folders that hold the files, or that will, as far as they exist."""
        found = {str(Path(pattern).parent) for pattern in self.patterns if not glob.has_magic(pattern)}
        for pattern in filter(glob.has_magic, self.patterns):
            parent = str(Path(pattern).parent)
            found |= set(glob.glob(parent)) if glob.has_magic(parent) else {parent}  # noqa: PTH207
        return sorted(folder for folder in found if Path(folder).is_dir())


def _text(name: str) -> str | Problem:
    """Return what a file holds, or why that cannot be read."""
    path = Path(name)
    try:
        if path.stat().st_size > _LARGEST:
            return Problem(message=f"is larger than {_LARGEST // 1024**2} MB", hint="split it", file=name)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = "check the name under providers.files, and that the file is mounted here"
        return Problem(message="there is no such file", hint=hint, file=name)
    except UnicodeDecodeError:
        return Problem(message="is not a text in UTF-8", hint="save it as UTF-8", file=name)
    except OSError as error:
        return Problem(message=f"cannot be read: {error.strerror or error}", file=name)
