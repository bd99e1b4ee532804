"""Docker contexts, written as the docker CLI writes them."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_context"]


def write_context(home: Path, name: str, endpoint: object, *, description: str = "", tls: tuple[str, ...] = ()) -> None:
    """Write a context as the docker CLI does."""
    key = sha256(name.encode()).hexdigest()
    meta = home / ".docker" / "contexts" / "meta" / key / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoints = {"docker": endpoint} if endpoint else {}
    meta.write_text(json.dumps({"Name": name, "Metadata": {"Description": description}, "Endpoints": endpoints}))
    for file in tls:
        path = home / ".docker" / "contexts" / "tls" / key / "docker" / f"{file}.pem"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
