"""Keeps certificates and account keys in a folder, laid out like certbot's.

::

    live/shop.example.com -> ../archive/shop.example.com/3      cert.pem chain.pem fullchain.pem privkey.pem
    archive/shop.example.com/3/…                                the last versions
    accounts/acme-v02.api.letsencrypt.org-directory.pem         account keys
    state.json                                                  failures and rate limits
    dns-records.json                                            DNS records to remove

A version is complete before ``live`` points to it, and the link changes atomically, so a certificate and its key always
belong together. Folders have mode 0700 and files 0600.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.certificates.errors import StorageError
from pilotage.certificates.x509 import Leaf, read_pair
from pilotage.core.tempdirs import lock_file

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Storage", "Stored", "write_file"]

_LARGEST: Final = 256 * 1024  # bytes of a file that is read
_VERSIONS: Final = 3  # kept of each certificate
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9._-]{0,200}")


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate with its key. The ``repr`` hides the key.

    Attributes:
        lineage: the name in the folder under which successive certificates for the same hosts are stored.
        leaf: details of the certificate.
        chain: PEM chain that begins with the certificate.
        key: PEM private key.
        entry: the entry of the configuration for which the certificate was obtained.
        directory: the ACME directory of the CA that issued the certificate; ``""`` for our own CA and for files that
            were taken over.

    """

    lineage: str
    leaf: Leaf
    chain: bytes
    key: bytes
    entry: str = ""
    directory: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The host names for which it is valid."""
        return self.leaf.names

    def is_valid(self, now: float) -> bool:
        """Return whether it is valid at a time, in seconds since 1970."""
        return self.leaf.not_before <= now < self.leaf.not_after

    def __repr__(self) -> str:
        return f"Stored({self.lineage!r}, {self.leaf!r}, <hidden>)"


class _Origin(msgspec.Struct):
    """The content of ``origin.json`` in each version."""

    entry: str = ""
    directory: str = ""


def write_file(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 atomically and durably.

    Raises:
        OSError: it cannot be written. The previous file, if any, is unchanged.

    """
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


class Storage:
    """The folder with certificates and account keys. Every method may block and may raise :class:`StorageError`.

    Args:
        folder: path of the folder, which is created when it is first needed.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    def open(self) -> None:
        """Create the folder, or check that only this user can use it."""
        try:
            self.folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name in ("", "live", "archive", "accounts"):
                (self.folder / name).mkdir(mode=0o700, exist_ok=True)
            found = self.folder.stat()
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                self.folder.chmod(0o700)
        except OSError as error:
            raise self._error(error, self.folder) from error

    def lock(self) -> bool:
        """Try to become the process that renews certificates, until :meth:`close`. Return whether this succeeded."""
        if self._lock is None:
            try:
                self._lock = lock_file(self.folder / "renewing.lock")
            except OSError as error:
                raise self._error(error, self.folder) from error
        return self._lock is not None

    def close(self) -> None:
        """Allow another process to renew certificates."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # ---- certificates

    def load(self) -> tuple[list[Stored], list[str]]:
        """Return the current certificates, and messages about those that cannot be read."""
        found, messages = [], []
        try:
            lineages = sorted(entry.name for entry in os.scandir(self.folder / "live"))
        except OSError as error:
            raise self._error(error, self.folder / "live") from error
        for lineage in lineages:
            if not _NAME.fullmatch(lineage):
                continue  # such as certbot's README
            try:
                found.append(self.read(lineage))
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else error
                messages.append(f"{self.folder / 'live' / lineage} cannot be used: {why}")
        return found, messages

    def read(self, lineage: str) -> Stored:
        """Return one certificate.

        Raises:
            OSError: a file cannot be read.
            ValueError: the files are not a certificate and its key.

        """
        version = (self.folder / "live" / lineage).resolve(strict=True)  # once, so both files are of one version
        chain, key = _content(version / "fullchain.pem"), _content(version / "privkey.pem")
        try:
            origin = msgspec.json.decode(_content(version / "origin.json"), type=_Origin)
        except (OSError, ValueError):
            origin = _Origin()
        return Stored(
            lineage=lineage,
            leaf=read_pair(chain, key),
            chain=chain,
            key=key,
            entry=origin.entry,
            directory=origin.directory,
        )

    def save(self, stored: Stored) -> None:
        """Make a certificate the current one of its lineage. If this fails, the previous one stays current."""
        archive = self.folder / "archive" / stored.lineage
        try:
            archive.mkdir(mode=0o700, parents=True, exist_ok=True)
            numbers = sorted(_versions(archive))
            version = archive / str(numbers[-1] + 1 if numbers else 1)
            draft = archive / f".{version.name}-{secrets.token_hex(6)}"
            draft.mkdir(mode=0o700)
            try:
                own, chain = _split(stored.chain)
                origin = msgspec.json.encode(_Origin(stored.entry, stored.directory))
                files = {"cert.pem": own, "chain.pem": chain, "fullchain.pem": stored.chain, "privkey.pem": stored.key}
                for name, content in {**files, "origin.json": origin}.items():
                    write_file(draft / name, content)
                draft.rename(version)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            link = self.folder / "live" / f".{stored.lineage}-{secrets.token_hex(6)}"
            link.symlink_to(Path("..", "archive", stored.lineage, version.name))
            try:
                link.replace(self.folder / "live" / stored.lineage)
            except BaseException:
                link.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._error(error, archive) from error
        for number in numbers[: -(_VERSIONS - 1)]:
            shutil.rmtree(archive / str(number), ignore_errors=True)

    def remove(self, lineage: str) -> None:
        """Remove a certificate and its earlier versions."""
        with contextlib.suppress(OSError):
            (self.folder / "live" / lineage).unlink()
        shutil.rmtree(self.folder / "archive" / lineage, ignore_errors=True)

    # ---- single files

    def read_file(self, name: str) -> bytes | None:
        """Return the content of a file in the folder; ``None`` if it does not exist."""
        try:
            return _content(self.folder / name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._error(error, self.folder / name) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file in the folder."""
        try:
            write_file(self.folder / name, content)
        except OSError as error:
            raise self._error(error, self.folder / name) from error

    @staticmethod
    def _error(error: Exception, path: Path) -> StorageError:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return StorageError(f"{getattr(error, 'filename', None) or path}: {why}")


def _versions(archive: Path) -> Iterator[int]:
    for entry in os.scandir(archive):
        if _NUMBER.fullmatch(entry.name):
            yield int(entry.name)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"{path} is larger than {_LARGEST // 1024} KiB")
    return content


_END: Final = b"-----END CERTIFICATE-----"


def _split(chain: bytes) -> tuple[bytes, bytes]:
    """Return the first certificate of a PEM chain, and the rest."""
    end = chain.index(_END) + len(_END)
    return chain[:end] + b"\n", chain[end:].lstrip()
