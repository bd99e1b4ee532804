"""Connects to engines by running ``docker system dial-stdio`` on the remote host through the user's ``ssh``.

Keys, agents, aliases, jump hosts and known hosts therefore work as in ``docker -H ssh://host ps``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import socket
from typing import TYPE_CHECKING, Any, Final

from pilotage.core.text import shorten
from pilotage.engine.diagnosis import DiagnosedError, Diagnosis, DialError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.engine.address import Address
    from pilotage.engine.http_stream import HTTPStream

__all__ = ["SSHDialer", "command_line", "diagnosis"]

_CONNECT_TIMEOUT: Final = 25
"""Seconds ssh may take to connect. Shorter than the default request timeout, so ssh reports its own error first."""

_OUTPUT_LIMIT: Final = 4096
"""Number of bytes that are kept from the end of ssh's standard error."""

_EXIT_TIMEOUT: Final = 1.0
"""Seconds to wait until ssh exits: after SIGTERM, before it is killed; after the end of its stream, before its output
is read.
"""

_KEPT_VARIABLES: Final = (
    "HOME PATH USER LOGNAME SHELL SSH_AUTH_SOCK SSH_AGENT_PID KRB5CCNAME XDG_RUNTIME_DIR TMPDIR".split()
)
"""Variables that ssh, its agent and its jump hosts need. ssh gets no others, so ``SendEnv`` cannot leak them."""


def command_line(address: Address) -> list[str]:
    """Return the ssh command.

    It uses no terminal and asks no questions (``-T``, ``BatchMode``), detects a dead connection within a minute
    (``ServerAliveInterval``), and never becomes a master that other sessions depend on (``ControlMaster``).

    Args:
        address: an ``ssh`` address; its path, if set, is the remote engine's socket.

    """
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(_CONNECT_TIMEOUT),
        "ServerAliveInterval": "15",
        "ControlMaster": "no",
    }
    command = ["ssh", "-T", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    if address.user:
        command += ["-l", address.user]
    if address.port:
        command += ["-p", str(address.port)]
    # The remote shell parses the command line, so the path needs quoting.
    engine = [f"--host={shlex.quote(f'unix://{address.path}')}"] if address.path else []
    return [*command, "--", address.host, "docker", *engine, "system", "dial-stdio"]


class _Process(asyncio.SubprocessProtocol):
    """An ssh process.

    Futures report the end of the process, because ``asyncio.run`` cancels all tasks, but no futures, before it closes
    connections. :meth:`end` waits until the event loop has released the process. Without that wait, asyncio would log
    an error after the loop is closed.

    Attributes:
        output: the last part of what ssh wrote to standard error.
        exited: a future for the exit status.

    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.output = ""
        self.exited: asyncio.Future[int | None] = loop.create_future()
        self._gone = loop.create_future()  # exited, and its pipe is closed
        self._raw = b""

    def connection_made(self, transport: asyncio.SubprocessTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002  # standard error is the only pipe
        self._raw = (self._raw + data)[-_OUTPUT_LIMIT:]
        self.output = self._raw.decode(errors="replace")

    def process_exited(self) -> None:
        self.exited.set_result(self.transport.get_returncode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._gone.set_result(None)

    async def end(self) -> None:
        """Terminate the process unless it has exited, and kill it after a second. Idempotent."""
        for end in (self.transport.terminate, self.transport.kill):
            if not self.exited.done():
                with contextlib.suppress(ProcessLookupError):
                    end()
                await asyncio.wait([self.exited], timeout=_EXIT_TIMEOUT)
        await asyncio.wait([self._gone], timeout=_EXIT_TIMEOUT)  # a child of ssh may keep the pipe open
        self.transport.close()
        await asyncio.wait([self._gone], timeout=_EXIT_TIMEOUT)


class _Tunnel:
    """An ssh process and its stream, which end together.

    Attributes:
        process: the process.
        lost: whether the stream has ended.
        failed: whether ssh itself exited with an error. Only then does its output explain the failure.
        task: completes when the process has exited and its output is read.

    """

    def __init__(self, process: _Process, transport: asyncio.Transport, protocol: HTTPStream) -> None:
        self.process = process
        self.transport = transport
        self.lost = False
        self.failed = False
        self.closing = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._supervise(protocol))

    async def _supervise(self, protocol: HTTPStream) -> None:
        exited = self.process.exited
        try:
            ends: list[asyncio.Future[Any]] = [exited, protocol.closed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self.lost = True
            if not self.closing.is_set():
                # ssh exits when its stream ends; the exit status shows whether it failed.
                await asyncio.wait([exited], timeout=_EXIT_TIMEOUT)
            self.failed = exited.done() and exited.result() != 0
        finally:
            self.lost = True
            self.transport.abort()
            await self.process.end()

    async def close(self) -> None:
        """End the process and its stream."""
        self.closing.set()
        self.transport.abort()
        await asyncio.wait([self.task])
        await self.process.end()  # the task may have been cancelled before it began


class SSHDialer:
    """Starts one ssh process per stream, at most two: one for events and one for requests.

    Args:
        address: an ``ssh`` address.

    """

    limit = 2

    def __init__(self, address: Address) -> None:
        self.address = address
        self._closed = False
        self._tunnels: list[_Tunnel] = []

    async def dial(self, factory: Callable[[], HTTPStream]) -> HTTPStream:
        """Start ssh and return the protocol of its stream. If ssh cannot connect, the first request fails instead."""
        ours, theirs = socket.socketpair()
        try:
            process = await self._start(theirs)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            transport, protocol = await asyncio.get_running_loop().create_unix_connection(factory, sock=ours)
        except BaseException:
            ours.close()
            await process.end()
            raise
        tunnel = _Tunnel(process, transport, protocol)
        if self._closed:
            await tunnel.close()
            raise ConnectionAbortedError
        self._tunnels = [tunnel for tunnel in self._tunnels if not tunnel.task.done()]
        self._tunnels.append(tunnel)
        return protocol

    async def _start(self, theirs: socket.socket) -> _Process:
        try:
            _, process = await asyncio.get_running_loop().subprocess_exec(
                _Process,
                *command_line(self.address),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=asyncio.subprocess.PIPE,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                start_new_session=True,  # detach ssh from the terminal and its Ctrl-C
            )
        except FileNotFoundError as error:
            found = Diagnosis("ssh is not installed", "install it (apt-get install openssh-client)")
            raise DiagnosedError(found) from error
        return process

    def is_rootless(self, *, podman: bool) -> bool:  # noqa: ARG002
        """Return False, because another machine's containers are reached at published ports anyway."""
        return False

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Wait for the ssh processes whose streams ended. Return the error of the last one that failed, if any."""
        if isinstance(error, DialError) or not isinstance(error, OSError):
            return None
        lost = [tunnel for tunnel in self._tunnels if tunnel.lost or tunnel.transport.is_closing()]
        if lost:
            await asyncio.wait([tunnel.task for tunnel in lost], timeout=3 * _EXIT_TIMEOUT)
        for tunnel in reversed(lost):
            if tunnel.failed and tunnel.process.output.strip():
                return diagnosis(self.address, tunnel.process.output)
        return None

    async def close(self) -> None:
        """Terminate all ssh processes and wait until they have exited."""
        self._closed = True
        await asyncio.gather(*(tunnel.close() for tunnel in self._tunnels))


# ---- ssh's output --------------------------------------------------------------------------------------------------

_NOISE: Final = ("@@@", "warning: permanently added", "** ", "add correct host key", "offending")


def diagnosis(address: Address, output: str) -> Diagnosis:
    """Convert the output of ssh or of the remote docker command to a message, with a remedy for common causes.

    Args:
        address: the ``ssh`` address.
        output: one or more lines.

    """
    lines = [line.strip() for line in output.splitlines()]
    messages = [line for line in lines if line and not line.lower().startswith(_NOISE)]
    messages = messages or [line for line in lines if line][-1:]
    text = shorten(" ".join(messages) if len(messages) <= 3 else f"{messages[0]} … {messages[-1]}", 240)
    target = f"{address.user}@{address.host}" if address.user else address.host
    login = f"ssh {f'-p {address.port} ' if address.port else ''}{target}"
    known = f"[{address.host}]:{address.port}" if address.port else address.host
    signs = _remedies(login, known)
    lower = output.lower()
    remedy = next((remedy for sign, remedy in signs if sign in lower), f"try `{login} docker system dial-stdio`")
    return Diagnosis(f"ssh says: {text}", remedy)


def _remedies(login: str, host: str) -> list[tuple[str, str]]:
    """Return pairs of a text in ssh's output and its remedy, most specific first."""
    return [
        (
            "identification has changed",
            f"if this change is expected: ssh-keygen -R {host}, then run `{login}` once by hand",
        ),
        ("host key verification failed", f"accept the machine's key: run `{login}` once by hand"),
        ("docker daemon socket", "let that user access the engine there: add it to the group docker and log in again"),
        ("cannot connect to the docker daemon", "start the engine there"),
        (
            "failed to open the raw stream",
            "start the engine there, or add its socket to the address: ssh://host/path/of/docker.sock",
        ),
        ("permission denied (", f"`{login}` must work without a password: set up a key (ssh-copy-id)"),
        ("not found", "install the docker CLI there, in the PATH of commands that run without a terminal"),
        ("could not resolve", "check the name, and ~/.ssh/config"),
        ("connection refused", "start the ssh server there, or check the port"),
        ("timed out", "check that the machine is up and no firewall blocks the port"),
        ("closed by remote host", "check the log of the ssh server there"),
        ("bad owner or permissions", "fix what ssh complains about"),
    ]
