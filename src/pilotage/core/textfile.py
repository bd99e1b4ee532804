"""Reads text files whose names come from users: only regular files of limited size."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_SIZE", "UnreadableFile", "decode_text", "read_text"]

MAX_SIZE: Final = 4 * 1024 * 1024
"""Maximum size of a text file in bytes. No file written by hand is larger."""


class UnreadableFile(ValueError):
    """A file cannot be read as text.

    Attributes:
        message: the reason, written to follow the file's name, without a full stop.
        hint: how to fix it; ``""`` if there is no advice.

    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


def read_text(path: Path) -> str:
    """Read a UTF-8 file, without its byte order mark. Never blocks: pipes and devices are refused.

    Raises:
        UnreadableFile: the file cannot be opened, is not a regular file, is larger than 4 MiB or is not UTF-8.

    """
    try:
        content = _content(path)
    except OSError as error:
        raise UnreadableFile(f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UnreadableFile("cannot be read: its name contains a null character") from error
    if content is None:
        raise UnreadableFile("is not a regular file", "choose a file that contains text")
    return decode_text(content)


def decode_text(content: bytes) -> str:
    """Decode the content of a UTF-8 file, without its byte order mark.

    Raises:
        UnreadableFile: the content is larger than 4 MiB or not UTF-8.

    """
    if len(content) > MAX_SIZE:
        raise UnreadableFile(f"is larger than {MAX_SIZE // 1024**2} MiB", "split it")
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UnreadableFile("is not UTF-8 text", "save it as UTF-8") from error


def _content(path: Path) -> bytes | None:
    """Return a file's content, up to one byte more than the limit; ``None`` if it is not a regular file."""
    # Opening a pipe without O_NONBLOCK waits for a writer.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(number).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            return None
        with open(number, "rb", closefd=False) as file:
            return file.read(MAX_SIZE + 1)
    finally:
        os.close(number)
