"""Certificates, entries and routes for tests of automatic certificates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pilotage.certificates.authority import InternalAuthority
from pilotage.certificates.settings import Authority, DnsSettings, Entry
from pilotage.certificates.storage import Storage, Stored
from pilotage.routes.route import Endpoint, Route

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CA", "DAY", "DNS", "entry", "opened", "route", "stored"]

DAY = 86_400.0
CA = "https://ca.example.com/dir"
DNS = DnsSettings("cloudflare", "cloudflare", (("auth_token", "secret-token"),))


def entry(*domains: str, **fields: Any) -> Entry:
    """Return an entry for domains, or for ``auto`` if there are none."""
    values = {"auto": not domains, "domains": tuple(sorted(domains)), "authorities": (Authority(directory=CA),)}
    return Entry(**{**values, **fields})


def opened(folder: Path) -> Storage:
    """Return a storage whose folder exists."""
    storage = Storage(folder / "certificates")
    storage.open()
    return storage


def stored(folder: Path, *names: str, now: float | None = None, directory: str = CA, entry: str = "main") -> Stored:
    """Return a certificate for names that is valid for 30 days from a time."""
    issued = InternalAuthority(opened(folder)).issue(names, "ec256", time.time() if now is None else now)
    return Stored(
        lineage=names[0].removeprefix("*."),
        leaf=issued.leaf,
        chain=issued.chain,
        key=issued.key,
        entry=entry,
        directory=directory,
    )


def route(alias: str, container: str = "shop", **fields: Any) -> Route:
    """Return a served route."""
    endpoints = (Endpoint("10.0.0.2", 80, container),)
    return Route(alias, "local", container, container * 2, endpoints=endpoints, host="10.0.0.2", **fields)
