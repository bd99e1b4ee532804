"""Notifies systemd of the state of a ``Type=notify`` service (sd_notify(3)) with plain datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Systemd"]


class Systemd:
    """Sends state notifications to systemd. Does nothing if systemd did not start the process.

    Args:
        env: the environment, with ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``.

    Attributes:
        watchdog: seconds between watchdog notifications, half the timeout; 0 if the watchdog is disabled.

    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._address = env.get("NOTIFY_SOCKET", "")
        for_us = env.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = env.get("WATCHDOG_USEC", "")
        self.watchdog = int(microseconds) / 2e6 if for_us and self._address and microseconds.isdigit() else 0.0

    def ready(self, status: str) -> None:
        """Report that the service has started, or has finished a reload."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Report that the configuration is being reloaded."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the service is shutting down."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Reset the watchdog."""
        self._send("WATCHDOG=1")

    async def feed_watchdog(self) -> None:
        """Report repeatedly that the event loop is running, if the watchdog is enabled."""
        while self.watchdog:
            self.alive()
            await asyncio.sleep(self.watchdog)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.settimeout(0)  # do not block if systemd does not read
            notify.sendto(text.encode(), address)
