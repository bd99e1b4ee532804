"""Engines behind ssh: the user's own ``ssh`` runs ``docker system dial-stdio`` at the far end, over a socket pair.

So whatever works with ``docker -H ssh://host ps`` works here: keys, agents, aliases, jump hosts, known hosts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import socket
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from pilotage.core.text import shorten
from pilotage.engine.diagnosis import DiagnosedError, Diagnosis, DialError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler

    from pilotage.engine.address import Address

__all__ = ["SSHDialer", "command_line", "diagnosis"]

_CONNECT_TIMEOUT: Final = 25
"""Seconds that ssh may take to connect: less than a request may by default, so that its own words come first."""

_WORDS: Final = 4096
"""Bytes of ssh's words that are kept, the last ones."""

_DYING: Final = 1.0
"""Seconds for ssh to end: after a signal until it is killed, and after its stream ended until its words are read."""

_KEPT_VARIABLES: Final = (
    "HOME PATH USER LOGNAME SHELL SSH_AUTH_SOCK SSH_AGENT_PID KRB5CCNAME XDG_RUNTIME_DIR TMPDIR".split()
)
"""What ssh, its agent and its jump hosts need. All else stays here: a ``SendEnv`` has nothing to send."""


def command_line(address: Address) -> list[str]:
    """Return how ssh is called.

    No terminal and no question ever (``-T``, ``BatchMode``); a dead line is noticed within a minute
    (``ServerAliveInterval``); no connection of ours becomes the master that others would hang on (``ControlMaster``).

    Args:
        address: an ssh one; its path, if it has one, is the far engine's socket.

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
    # The far shell reads one line of text, so the path is quoted for it.
    engine = [f"--host={shlex.quote(f'unix://{address.path}')}"] if address.path else []
    return [*command, "--", address.host, "docker", *engine, "system", "dial-stdio"]


class _Tunnel:
    """One ssh process and the stream through it: neither outlives the other.

    Attributes:
        words: what ssh wrote to its standard error, the end of it.
        lost: set when the stream has ended.
        failed: set when ssh ended by itself and not well: then its words are the reason, else they are chatter.
        task: ends when the process is gone and its words are read.

    """

    def __init__(self, process: Process, transport: asyncio.Transport, protocol: ResponseHandler) -> None:
        self.process = process
        self.transport = transport
        self.words = ""
        self.lost = False
        self.failed = False
        self.hurry = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self._attend(protocol))

    async def _attend(self, protocol: ResponseHandler) -> None:
        gone = asyncio.ensure_future(self.process.wait())
        listening = asyncio.ensure_future(self._listen())
        try:
            stream = protocol.closed  # aiohttp's own future: looked at, never cancelled
            if stream is not None:
                ends: list[asyncio.Future[Any]] = [gone, stream]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if stream.done():
                    stream.exception()
            self.lost = True
            if not self.hurry.is_set():
                # When the stream ends ssh does, and only it knows why, if there is a reason.
                await asyncio.wait([gone], timeout=_DYING)
            self.failed = gone.done() and gone.result() != 0
        finally:
            self.lost = True
            self.transport.abort()
            await _end(self.process, gone)
            await asyncio.wait([listening], timeout=_DYING)  # somebody ssh started may keep the pipe open
            listening.cancel()

    async def _listen(self) -> None:
        words, pipe = b"", self.process.stderr
        while pipe is not None and (chunk := await pipe.read(_WORDS)):
            words = (words + chunk)[-_WORDS:]
            self.words = words.decode(errors="replace")


async def _end(process: Process, gone: asyncio.Future[int]) -> None:
    """End a process that may have ended already: politely, and after a second not so."""
    for end in (process.terminate, process.kill):
        if gone.done():
            return
        with contextlib.suppress(ProcessLookupError):
            end()
        await asyncio.wait([gone], timeout=_DYING)


class SSHDialer:
    """One ssh process for each stream; two streams at most: one for events and one for requests.

    Args:
        address: an ssh one.

    """

    limit = 2

    def __init__(self, address: Address) -> None:
        self.address = address
        self._tunnels: list[_Tunnel] = []

    async def dial(self, factory: Callable[[], ResponseHandler]) -> ResponseHandler:
        """Start ssh. Whether it gets through shows with the first answer, not here."""
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
            process.kill()
            await process.wait()
            raise
        self._tunnels = [tunnel for tunnel in self._tunnels if not tunnel.task.done()]
        self._tunnels.append(_Tunnel(process, transport, protocol))
        return protocol

    async def _start(self, theirs: socket.socket) -> Process:
        try:
            return await asyncio.create_subprocess_exec(
                *command_line(self.address),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=asyncio.subprocess.PIPE,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                start_new_session=True,  # neither the terminal nor its Ctrl-C is ssh's
            )
        except FileNotFoundError as error:
            found = Diagnosis("ssh is not installed", "install it (apt-get install openssh-client)")
            raise DiagnosedError(found) from error

    async def diagnose(self, error: Exception) -> Diagnosis | None:
        """Wait for the ssh whose stream ended, and pass its words on."""
        if isinstance(error, DialError) or not isinstance(error, aiohttp.ClientError | OSError):
            return None
        lost = [tunnel for tunnel in self._tunnels if tunnel.lost or tunnel.transport.is_closing()]
        if lost:
            await asyncio.wait([tunnel.task for tunnel in lost], timeout=3 * _DYING)
        for tunnel in reversed(lost):
            if tunnel.failed and tunnel.words.strip():
                return diagnosis(self.address, tunnel.words)
        return None

    async def close(self) -> None:
        """End every ssh, and return when they are gone."""
        for tunnel in self._tunnels:
            tunnel.hurry.set()
            tunnel.transport.abort()
        await asyncio.gather(*(tunnel.task for tunnel in self._tunnels), return_exceptions=True)


# ---- ssh's words ---------------------------------------------------------------------------------------------------

_CHATTER: Final = ("@@@", "warning: permanently added", "** ", "add correct host key", "offending")


def diagnosis(address: Address, words: str) -> Diagnosis:
    """Turn what ssh, or docker at the far end, wrote into a sentence, with what to do about the usual causes.

    Args:
        address: the ssh one.
        words: several lines, perhaps.

    """
    lines = [line.strip() for line in words.splitlines()]
    said = [line for line in lines if line and not line.lower().startswith(_CHATTER)]
    said = said or [line for line in lines if line][-1:]
    text = shorten(" ".join(said) if len(said) <= 3 else f"{said[0]} … {said[-1]}", 240)
    target = f"{address.user}@{address.host}" if address.user else address.host
    login = f"ssh {f'-p {address.port} ' if address.port else ''}{target}"
    known = f"[{address.host}]:{address.port}" if address.port else address.host
    signs = _remedies(login, known)
    lower = words.lower()
    remedy = next((remedy for sign, remedy in signs if sign in lower), f"try `{login} docker system dial-stdio`")
    return Diagnosis(f"ssh says: {text}", remedy)


def _remedies(login: str, host: str) -> list[tuple[str, str]]:
    """Return what to do about each sign in ssh's words, the most telling sign first."""
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
