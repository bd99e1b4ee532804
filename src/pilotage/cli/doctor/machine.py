"""Checks name resolution, the clock and the limit on open files of this machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pilotage.cli.doctor.finding import Finding
from pilotage.discovery import HostAddresses
from pilotage.gateway import memory_limit
from pilotage.xds import limits_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.config import GatewaySettings

__all__ = ["allowed_files", "check_clock", "check_name", "check_open_files"]

_PATIENCE: Final = 3.0  # seconds for the system's resolver
_PROBE: Final = "pilotage-doctor"  # a name that only a wildcard record has
_UNSYNCHRONIZED: Final = 5  # TIME_ERROR in sys/timex.h
_TIMEX: Final = 512  # bytes; more than struct timex has on any platform
_MANY: Final = 1 << 20  # for no limit
_FEW: Final = 1000  # client connections


def check_name(domain: str, resolve: Callable[..., Iterable[Any]] | None = None) -> Finding:
    """Check whether names below a domain resolve.

    Args:
        domain: ``localhost``, or a domain of ``match_domains``.
        resolve: returns addresses; ``None`` for :func:`socket.getaddrinfo`.

    """
    check, found = f"names *.{domain}", _addresses(f"{_PROBE}.{domain}", resolve or socket.getaddrinfo)
    if found is None:
        remedy = "check the name servers in /etc/resolv.conf: resolvectl status"
        return Finding(check, "warning", f"no answer from the resolver within {_PATIENCE:g} s", remedy)
    if not found and domain == "localhost":
        remedy = "browsers and curl need no resolver for them; for other programs: sudo apt install libnss-myhostname"
        return Finding(check, "warning", "this machine's resolver does not know them", remedy)
    if not found:
        remedy = f"add a DNS record for *.{domain} that points to this machine"
        return Finding(check, "warning", "they do not resolve here, unless each has a record of its own", remedy)
    ours = HostAddresses()()
    foreign = [address for address in found if address not in ours and not address.startswith("127.")]
    text = f"they resolve to {', '.join(found)}"
    if foreign:
        text += ", which must lead to this machine, such as through a router"
    return Finding(check, "ok", text)


def _addresses(name: str, resolve: Callable[..., Iterable[Any]]) -> list[str] | None:
    """Return the addresses of a name; ``None`` if the resolver does not answer in time."""
    found: list[str] = []

    def ask() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(dict.fromkeys(str(each[4][0]) for each in resolve(name, None, type=socket.SOCK_STREAM)))

    thread = threading.Thread(target=ask, daemon=True)  # nothing can interrupt getaddrinfo
    thread.start()
    thread.join(_PATIENCE)
    return None if thread.is_alive() else found


def check_clock(kernel_state: Callable[[], int] | None = None) -> Finding:
    """Check whether the kernel knows this machine's clock to be synchronized (adjtimex(2)). Asks no time server.

    Args:
        kernel_state: returns the kernel's state of the clock, or -1 if it is unknown.

    """
    state = (kernel_state or _kernel_state)()
    if state == _UNSYNCHRONIZED:
        return Finding("clock", "warning", "nothing synchronizes this machine's clock", "sudo timedatectl set-ntp true")
    if state < 0:
        return Finding("clock", "warning", "the system does not say whether it is synchronized", "run: timedatectl")
    return Finding("clock", "ok", "synchronized")


def _kernel_state() -> int:
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX)))
    except (AttributeError, OSError):
        return -1


def allowed_files(pid: int = 0) -> int:
    """Return how many files a process may have open, after it has raised its own limit to the maximum.

    Args:
        pid: the process; 0 for this one, also used if this user may not see the other.

    """
    with contextlib.suppress(OSError, ValueError, StopIteration):
        if pid:
            lines = Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()
            hard = next(line for line in lines if line.startswith("Max open files")).split()[4]
            return _MANY if hard == "unlimited" else int(hard)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _MANY if most == resource.RLIM_INFINITY else most


def check_open_files(gateway: GatewaySettings, files: int, memory: int | None = None) -> Finding:
    """Check whether the limit on open files allows as many connections as the gateway should accept.

    Args:
        gateway: how to run Envoy.
        files: how many files Envoy may have open.
        memory: bytes of memory for Envoy; ``None`` for this machine's.

    """
    workers = gateway.workers or os.cpu_count() or 1
    memory = memory_limit() if memory is None else memory
    limits = limits_for(files, memory, workers=workers, connections=gateway.max_connections)
    wanted = gateway.max_connections or _FEW
    if limits.connections >= wanted or (not gateway.max_connections and files >= _needed(_FEW, workers)):
        text = f"{files:,} allowed, enough for {limits.connections:,} client connections"
        return Finding("open files", "ok", text)
    needed = _needed(wanted, workers)
    text = f"{files:,} allowed, enough for only {limits.connections:,} client connections"
    if gateway.max_connections:
        text += f" instead of gateway.max_connections: {wanted}"
    remedy = f"systemd: LimitNOFILE={needed}; container: --ulimit nofile={needed}; "
    remedy += f"shell: sudo prlimit --nofile={needed} --pid $$"
    return Finding("open files", "warning", text, remedy)


def _needed(connections: int, workers: int) -> int:
    """Return how many open files allow a number of client connections (:func:`pilotage.xds.limits_for`)."""
    return 2 * connections + 64 + 16 * workers
