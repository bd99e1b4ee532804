"""Records for the daemon's next run which container holds which name, if there is a folder for state.

Without this record, if the engine of a name's holder is unreachable at startup, a container on another engine could
take the name. The file contains only names, no route settings.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.table import HeldName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pilotage.table import RouteStore

__all__ = ["HeldNames"]

log = logging.getLogger(__name__)

_FILE: Final = "names.json"
_INTERVAL: Final = 10.0  # seconds between two writes
_BATCH: Final = 2_000  # routes read before other tasks get a turn
_LARGEST: Final = 32 * 2**20  # bytes of the file
_LONGEST: Final = 255  # characters of a name


class _Content(msgspec.Struct):
    """The content of the file: name -> the container that held it."""

    names: dict[str, HeldName] = {}


class HeldNames:
    """The file that records which container holds which name.

    Args:
        env: the environment. ``STATE_DIRECTORY``, which systemd sets, names the folder; without it, there is no file.

    """

    def __init__(self, env: Mapping[str, str]) -> None:
        folder = env.get("STATE_DIRECTORY", "").partition(":")[0]
        self.path = Path(folder) / _FILE if folder else None
        self._written: dict[str, HeldName] = {}
        self._reported = ""

    def load(self) -> dict[str, HeldName]:
        """Return the names that were held when the daemon last ran; empty if the file is missing or unreadable."""
        if self.path is None:
            return {}
        try:
            with self.path.open("rb") as file:
                text = file.read(_LARGEST)  # a longer one is cut off, so it is not valid JSON
            self._written = msgspec.json.decode(text, type=_Content).names
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            log.warning("%s cannot be read, so no names are kept from the last run: %s", self.path, error)
        return dict(self._written)

    async def run(self, store: RouteStore) -> None:
        """Write the file, if the names have changed, every 10 seconds and once more when cancelled."""
        if self.path is None:
            return
        try:
            while True:
                await asyncio.sleep(_INTERVAL)
                names = dict(store.reserved)
                for number, (name, holder) in enumerate(_names(store), 1):
                    names[name] = holder
                    if number % _BATCH == 0:
                        await asyncio.sleep(0)
                self._save(names)
        finally:
            self._save({**store.reserved, **dict(_names(store))})

    def _save(self, names: dict[str, HeldName]) -> None:
        if self.path is None or names == self._written:
            return
        text = msgspec.json.encode(_Content(names))
        try:
            if len(text) >= _LARGEST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))  # noqa: TRY301  # like a system with this limit
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{_FILE}-")  # of mode 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(text)
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            why = error.strerror or type(error).__name__
            if self._reported != why:
                self._reported = why
                log.warning(
                    "%s cannot be written (%s), so the next run will not know which container had which name",
                    self.path,
                    why,
                )
            return
        self._written = names


def _names(store: RouteStore) -> Iterator[tuple[str, HeldName]]:
    """Yield each served name of a route or pool, with the container that holds it. Names from files are omitted."""
    table = store.table
    for alias, route in table.routes.items():
        if not (route.excluded or route.is_static) and len(alias) <= _LONGEST:
            yield alias, HeldName(route.provider, route.container[:_LONGEST], route.agent)
    for pool, members in table.pool_members.items():
        leader = table.routes.get(members[0]) if members else None
        if leader is not None and not leader.is_static and len(pool) <= _LONGEST:
            yield pool, HeldName(leader.provider, leader.container[:_LONGEST], leader.agent)
