"""What systemd wants to hear of a service of ``Type=notify`` (sd_notify(3)): plain datagrams, no library."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Systemd"]


class Systemd:
    """Tells systemd how the service is; nothing happens where it does not ask.

    Args:
        env: the environment; ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` matter.

    Attributes:
        watchdog: seconds between two signs of life, half of what systemd allows; 0 when it does not ask for any.

    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._address = env.get("NOTIFY_SOCKET", "")
        for_us = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = env.get("WATCHDOG_USEC", "")
        self.watchdog = int(microseconds) / 2e6 if for_us and self._address and microseconds.isdigit() else 0.0

    def ready(self, status: str) -> None:
        """Tell that the service does its work (also after a reload)."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Tell that the configuration is being read again."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the service ends."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Give a sign of life."""
        self._tell("WATCHDOG=1")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(0)  # a systemd that does not listen must not hold up the service
            notify.sendto(text.encode(), address)
