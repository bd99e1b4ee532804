"""Finds secrets in files: those that ``NAME_FILE`` names, and the credentials of systemd services."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotage.core.text import shorten
from pilotage.core.textfile import UnreadableFile, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Unset", "secret_in_file", "secret_of"]

_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Unset(ValueError):
    """A value contains a variable that cannot be substituted.

    Attributes:
        message: the problem, in one sentence without a full stop.
        hint: how to fix the value.

    """

    def __init__(self, message: str, hint: str) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


def secret_of(name: str, env: Mapping[str, str]) -> str | None:
    """Return the secret that a file supplies for a variable; ``None`` if none does.

    The file is the one that the variable ``NAME_FILE`` names, or the credential ``NAME`` or ``name`` of the systemd
    service (``LoadCredential=`` and ``SetCredential=``, which systemd puts into ``$CREDENTIALS_DIRECTORY``).

    Raises:
        Unset: the file that ``NAME_FILE`` names cannot be read.

    """
    if file := env.get(f"{name}_FILE"):
        return secret_in_file(Path(file))
    folder = env.get("CREDENTIALS_DIRECTORY", "")
    for credential in (name, name.lower()) if folder and _CREDENTIAL.fullmatch(name) else ():
        path = Path(folder, credential)
        if path.is_file():
            return secret_in_file(path)
    return None


def secret_in_file(path: Path) -> str:
    """Return the text of a file without the line break at its end.

    Raises:
        Unset: it cannot be read, or is empty.

    """
    shown = shorten(str(path), 200)
    try:
        secret = read_text(path).strip("\r\n")
    except UnreadableFile as error:
        raise Unset(f"{shown} {error.message}", error.hint or "write the secret into this file") from error
    if not secret:
        raise Unset(f"{shown} is empty", "write the secret into this file")
    return secret
