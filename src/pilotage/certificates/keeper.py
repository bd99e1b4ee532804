"""Keeps the certificates of the running daemon, in memory and in the folder, which may become unusable."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pilotage.certificates.errors import StorageError
from pilotage.certificates.plan import INTERNAL, Job, lineage_name
from pilotage.certificates.records import RecordJournal
from pilotage.certificates.state import State
from pilotage.certificates.storage import Storage, Stored, write_file
from pilotage.certificates.threads import in_thread
from pilotage.certificates.x509 import read_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pilotage.certificates.orders import Issued
    from pilotage.certificates.settings import Entry
    from pilotage.certificates.status import EventKind

    Listener = Callable[[EventKind, Stored], object]

__all__ = ["Keeper"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_DISK: Final = 60.0  # seconds for an operation on files; a network file system can hang


class Keeper:
    """The certificates, and the state of failed attempts and orders.

    Args:
        folder: the folder in which certificates and state are kept.
        on_event: called for each certificate that is taken over from files or from another process.

    Attributes:
        storage: the folder.
        state: failures and rate limits.
        journal: DNS records to be removed.
        leads: whether this process renews certificates. If not, another process renews them, and this process only
            serves them.

    """

    def __init__(self, folder: Path, on_event: Listener = lambda _kind, _stored: None) -> None:
        self.storage = Storage(folder)
        self.state = State()
        self.journal = RecordJournal(self.storage)
        self.leads = False
        self._on_event = on_event
        self._was_loaded = False
        self._stored: dict[str, Stored] = {}
        self._unsaved: dict[str, Stored] = {}
        self._messages: dict[str, str] = {}  # subject -> what is wrong with the folder

    @property
    def stored(self) -> tuple[Stored, ...]:
        """The certificates, sorted by lineage."""
        return tuple(self._stored[name] for name in sorted(self._stored))

    @property
    def has_unsaved(self) -> bool:
        """Whether a certificate is only in memory."""
        return bool(self._unsaved)

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems with the folder."""
        return tuple(self._messages.values())

    def close(self) -> None:
        """Allow another process to renew certificates."""
        self.storage.close()

    async def ready(self, entries: Sequence[Entry]) -> bool:
        """Open the folder, and return whether this process may obtain certificates now.

        Without the folder, it may not, because an account whose key is lost cannot be used again.
        """
        try:
            if not self.leads:
                await self._on_disk(self.storage.open)
                self.leads = await self._on_disk(self.storage.lock)
                await self._load()
                if self.leads:
                    await self._begin(entries)
            await self._save_again()
        except StorageError as error:
            self._report("folder", f"the folder for certificates cannot be used: {error}")
            return False
        self._forget("folder")
        return self.leads

    async def _load(self) -> None:
        found, messages = await self._on_disk(self.storage.load)
        readable = {it.lineage: it for it in found}
        before = {it.leaf.serial for it in self._stored.values()}
        # A certificate that can no longer be read is still served from memory.
        self._stored = {**self._stored, **readable} if messages else {**readable, **self._unsaved}
        for subject in [subject for subject in self._messages if subject.startswith("file ")]:
            self._forget(subject)
        for message in messages:
            self._report(f"file {message}", message)
        for stored in self.stored if self._was_loaded else ():
            if stored.leaf.serial not in before:
                self._on_event("received", stored)
        self._was_loaded = True

    async def _begin(self, entries: Sequence[Entry]) -> None:
        try:
            await self._on_disk(lambda: self.state.load(self.storage))
        except StorageError as error:
            self._report("state", f"cannot read earlier failures: {error}")
        for entry in entries:
            if entry.cert_path and not any(it.entry == entry.name for it in self._stored.values()):
                await self._take_over(entry)

    async def _take_over(self, entry: Entry) -> None:
        """Take over the certificate in the entry's files, if there is one."""

        def read() -> tuple[bytes, bytes] | None:
            try:
                return Path(entry.cert_path).read_bytes(), Path(entry.key_path).read_bytes()
            except OSError:
                return None

        pair = await self._on_disk(read)
        if pair is None:
            return
        try:
            leaf = read_pair(*pair)
        except ValueError as error:
            self._report(f"file {entry.cert_path}", f"{entry.cert_path} is not taken over: {error}")
            return
        if leaf.names:
            lineage = lineage_name(sorted(leaf.names), self._stored)
            stored = Stored(lineage=lineage, leaf=leaf, chain=pair[0], key=pair[1], entry=entry.name)
            await self._save(stored)
            log.info("took over the certificate in %s", entry.cert_path)
            self._on_event("taken_over", stored)

    async def keep(self, job: Job, issued: Issued, directory: str) -> None:
        """Keep a new certificate, in memory even if it cannot be saved."""
        await self._save(
            Stored(
                lineage=job.lineage,
                leaf=issued.leaf,
                chain=issued.chain,
                key=issued.key,
                entry=job.entry.name,
                directory=directory or INTERNAL,
            )
        )
        if job.entry.keep_files:
            await self._copy(job.entry, issued)

    async def _save(self, stored: Stored) -> None:
        self._stored[stored.lineage] = stored
        try:
            await self._on_disk(lambda: self.storage.save(stored))
        except StorageError as error:
            self._unsaved[stored.lineage] = stored
            message = f"the certificate for {stored.names[0]} is served, but cannot be saved: {error}"
            self._report(f"save {stored.lineage}", message)
        else:
            self._unsaved.pop(stored.lineage, None)
            self._forget(f"save {stored.lineage}")

    async def _save_again(self) -> None:
        for stored in list(self._unsaved.values()):
            await self._save(stored)

    async def _copy(self, entry: Entry, issued: Issued) -> None:
        def write() -> None:
            for path, content in ((entry.key_path, issued.key), (entry.cert_path, issued.chain)):
                Path(path).parent.mkdir(mode=0o700, exist_ok=True)
                write_file(Path(path), content)

        try:
            await self._on_disk(write)
        except (OSError, StorageError) as error:
            self._report(f"copy {entry.name}", f"autocert: {entry.cert_path} cannot be written: {error}")
        else:
            self._forget(f"copy {entry.name}")

    async def save_state(self) -> None:
        """Save the state of failed attempts and orders."""
        try:
            await self._on_disk(lambda: self.state.save(self.storage))
        except StorageError as error:
            self._report("state", f"cannot save failures and orders: {error}")
        else:
            self._forget("state")

    async def tidy(self, managed: Iterable[str], before: float, *, clock_is_right: bool) -> None:
        """Remove certificates that expired before a time, if no name needs them.

        Unless the clock is known to be right, remove only those of our own CA, which are easily replaced.
        """
        names = set(managed)
        expired = [it for it in self._stored.values() if it.leaf.not_after < before and not names & set(it.names)]
        for it in [it for it in expired if clock_is_right or it.directory == INTERNAL]:
            await self._on_disk(partial(self.storage.remove, it.lineage))
            del self._stored[it.lineage]

    async def read(self, name: str) -> bytes | None:
        """Return the content of a file in the folder; ``None`` if there is no such file.

        Raises:
            StorageError: it cannot be read.

        """
        return await self._on_disk(lambda: self.storage.read_file(name))

    async def _on_disk(self, action: Callable[[], _T]) -> _T:
        try:
            return await in_thread(action, _DISK)
        except TimeoutError as error:
            raise StorageError(f"{self.storage.folder}: the file system does not respond") from error

    def _report(self, subject: str, message: str) -> None:
        if self._messages.get(subject) != message:
            self._messages[subject] = message
            log.error("%s", message)

    def _forget(self, subject: str) -> None:
        self._messages.pop(subject, None)
