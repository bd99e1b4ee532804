"""A real ``pilotage serve`` for attacks from outside: raw bytes go in, and raw targets record what comes out.

Everything is synchronous, so one daemon can serve all tests of a module.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.support.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Answer", "FrontDoor", "RawTarget", "front_door", "raw_target"]

_PATIENCE: Final = 30.0
_WITH_MEMORY: Final = """
import pilotage.daemon.settings
from pilotage.__main__ import run_commands
pilotage.daemon.settings.memory_limit = lambda: {}
run_commands(None)
"""


class Answer:
    """A response, split into its parts."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if lines[0].startswith("HTTP/") else 0
        self.headers = {name.lower(): value.strip() for name, _, value in (it.partition(":") for it in lines[1:])}


class Request:
    """A request as a target received it."""

    def __init__(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.path, _ = first.split(" ", 2)
        self.lines = [(name.lower(), value.strip()) for name, _, value in (it.partition(":") for it in lines)]
        self.headers = dict(self.lines)


class RawTarget:
    """A server on loopback that records the heads of requests as they are, and answers each with its name.

    Attributes:
        port: where it listens.
        seen: the requests.
        answers: path without query -> the head of the response; any other path is answered with 200.
        silent: paths whose requests are never answered.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[Request] = []
        self.answers: dict[str, bytes] = {}
        self.silent: set[str] = set()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self._server.getsockname()[1]
        self._connections: dict[int, tuple[socket.socket, bytearray]] = {}
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.send(b"x")
        self._thread.join()
        for connection, _ in self._connections.values():
            connection.close()
        for it in (self._server, self._end, self._ended):
            it.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        poll.register(self._ended, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number == self._ended.fileno():
                    return
                if number == self._server.fileno():
                    connection, _ = self._server.accept()
                    self._connections[connection.fileno()] = (connection, bytearray())
                    poll.register(connection, select.POLLIN)
                    continue
                connection, received = self._connections[number]
                try:
                    data = connection.recv(65536)
                    received += data
                    self._answer(connection, received)
                except OSError:
                    data = b""
                if not data:
                    poll.unregister(number)
                    connection.close()
                    del self._connections[number]

    def _answer(self, connection: socket.socket, received: bytearray) -> None:
        while (end := received.find(b"\r\n\r\n")) >= 0:
            request = Request(bytes(received[: end + 4]))
            length = int(request.headers.get("content-length", 0))
            chunked = "transfer-encoding" in request.headers
            if len(received) < end + 4 + length or (chunked and not received.endswith(b"0\r\n\r\n")):
                return
            del received[: len(received) if chunked else end + 4 + length]
            self.seen.append(request)
            path = request.path.partition("?")[0]
            if path in self.silent:
                continue
            body = self.name.encode()
            head = self.answers.get(path, b"HTTP/1.1 200 OK\r\n")
            if b" 101 " in head.partition(b"\r\n")[0]:
                connection.sendall(head + b"\r\n")
            else:
                connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def last(self) -> Request:
        return self.seen[-1]


@contextlib.contextmanager
def raw_target(name: str = "target") -> Iterator[RawTarget]:
    """Run a target."""
    made = RawTarget(name)
    try:
        yield made
    finally:
        made.close()


class FrontDoor:
    """A running daemon.

    Attributes:
        port: its port for plain HTTP.
        https_port: its port for HTTPS, if it has certificates.
        folder: its configuration and its log.

    """

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int, https_port: int) -> None:
        self.folder = folder
        self.process = process
        self.port = port
        self.https_port = https_port

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def envoy(self) -> int:
        """The process ID of its Envoy."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [pid for file in children for pid in file.read_text().split()]
        (found,) = [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().startswith("envoy")]
        return int(found)

    def connect(self, *, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE, source_address=(source, 0))

    def say(self, text: str | bytes, *, source: str = "127.0.0.1") -> Answer:
        """Send a request as it is, with line feeds for line ends if it is text; return the response."""
        data = text.replace("\n", "\r\n").encode("latin-1") if isinstance(text, str) else text
        with self.connect(source=source) as connection:
            connection.sendall(data)
            return Answer(read_response(connection))

    def get(self, host: str, path: str = "/", headers: Mapping[str, str] | None = None) -> Answer:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        return self.say("\n".join([*lines, "Connection: close", "", ""]))

    def api(self, path: str) -> tuple[int, Any]:
        """Request a page of the daemon's API."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(self.folder / "api.sock"))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = Answer(read_response(connection))
        with contextlib.suppress(ValueError):
            return answer.status, json.loads(answer.body)
        return answer.status, answer.body.decode()


def read_response(connection: socket.socket) -> bytes:
    """Read until the connection is closed, or the response is complete."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
            head, separator, body = received.partition(b"\r\n\r\n")
            lengths = [it for it in head.lower().split(b"\r\n") if it.startswith(b"content-length:")]
            if separator and lengths and len(body) >= int(lengths[0].partition(b":")[2]):
                break
    return received


@contextlib.contextmanager
def front_door(
    folder: Path,
    routes: Mapping[str, Any],
    gateway: Mapping[str, Any] | None = None,
    *,
    descriptors: int = 0,
    memory: int = 0,
    sections: Mapping[str, Any] | None = None,
    **environment: Any,
) -> Iterator[FrontDoor]:
    """Run a daemon that serves routes from a file.

    Args:
        folder: for its files.
        routes: the routes, as a file of routes has them.
        gateway: more settings of the gateway.
        descriptors: its limit of open files, soft and hard; 0 leaves it as it is.
        memory: bytes that the machine seems to have; 0 for those that it has.
        sections: more sections of the configuration.
        environment: more environment variables.

    """
    port = free_port()
    settings = {"http": f"127.0.0.1:{port}", "workers": 2, **(gateway or {})}
    https_port = 0
    if "tls" in settings:
        https_port = free_port()
        settings["https"] = f"127.0.0.1:{https_port}"
    (folder / "routes.yml").write_text(yaml.safe_dump(dict(routes)))
    configuration = {"providers": {"files": ["routes.yml"]}, "gateway": settings, **(sections or {})}
    (folder / "pilotage.yml").write_text(yaml.safe_dump(configuration))
    program = ["-c", _WITH_MEMORY.format(memory)] if memory else ["-m", "pilotage"]
    command = [sys.executable, *program, "serve", "--config", str(folder / "pilotage.yml")]
    env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")} | environment

    # prlimit sets the limit after the exec. A preexec_fn runs gRPC's fork handlers, which now and then abort the child.
    limit = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []

    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*limit, *command, "--api", f"unix://{folder}/api.sock"],
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
        )
    made = FrontDoor(folder, process, port, https_port)
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 60)[0], made.log
        assert process.stdout.readline(), made.log
        _answering(made, next(iter(routes)))
        yield made
    finally:
        process.terminate()
        process.communicate()
    assert "Traceback" not in made.log, made.log


def _answering(door: FrontDoor, host: str) -> None:
    """Wait until the first route is served: Envoy opens its port a moment after it has accepted it."""

    def is_served() -> bool:
        try:
            return door.get(host).status not in {0, 404}
        except OSError:
            return False

    wait_until(is_served, lambda: door.log, patience=_PATIENCE)
