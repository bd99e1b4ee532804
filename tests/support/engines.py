"""Engines for tests: an address, and the docker CLI to run containers on it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.daemon import Daemon, Dockerd, abandoned, engine_directory
from tests.support.environment import MACHINE
from tests.support.images import IMAGES, WEB, build_context
from tests.support.install import EngineUnavailable
from tests.support.podman import Podman
from tests.support.relay import TcpRelay

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["CommandFailed", "Engine", "named_engine", "own_docker", "own_podman", "sweep"]


class CommandFailed(Exception):
    """The docker CLI failed; the message has its output."""


class Engine:
    """A real engine, and what tests do with it.

    Attributes:
        host: its address as ``DOCKER_HOST`` wants it.
        socket: path of its unix socket, ``""`` if it has none.
        tcp_url: ``tcp://127.0.0.1:PORT`` without TLS (a relay to the socket), or ``None``.
        tls_url: ``tcp://127.0.0.1:PORT`` with mutual TLS, or ``None``.
        cert_dir: ``ca.pem``, ``cert.pem`` and ``key.pem`` for ``tls_url``, or ``None``.
        daemon: the process, which tests may stop, kill or freeze; ``None`` if the tests have not started the engine.

    """

    def __init__(self, host: str, daemon: Daemon | None = None) -> None:
        self.host = host
        self.socket = host.removeprefix("unix://") if host.startswith("unix://") else ""
        self.daemon = daemon
        self._relay = TcpRelay(daemon.socket) if daemon else None
        self.tcp_url = self._relay.url if self._relay else None
        self.tls_url = daemon.tls_url if isinstance(daemon, Dockerd) else None
        self.cert_dir = daemon.cert_dir if isinstance(daemon, Dockerd) else None
        self._made: list[str] = []
        self._networks: list[str] = []
        # an empty configuration, without the user's contexts and log-ins
        config = daemon.directory / "cli" if daemon else None
        # an engine that the user has named may need the user's certificates and keys
        self._env = dict(os.environ if daemon else MACHINE)
        self._env |= {"DOCKER_HOST": host, "DOCKER_BUILDKIT": "0"} | ({"DOCKER_CONFIG": str(config)} if config else {})
        self._env.pop("DOCKER_CONTEXT", None)

    def __repr__(self) -> str:
        return f"<Engine {self.host}>"

    def docker(self, *arguments: str, stdin: bytes | None = None, timeout: float = 60) -> str:
        """Run ``docker ARGUMENTS`` on this engine; return its output without the last newline.

        Raises:
            CommandFailed: its exit status is not 0.

        """
        feed: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            ["docker", *arguments], env=self._env, capture_output=True, check=False, timeout=timeout, **feed
        )
        if done.returncode != 0:
            raise CommandFailed(f"docker {' '.join(arguments)[:200]}: {done.stderr.decode(errors='replace').strip()}")
        printed: bytes = done.stdout
        return printed.decode().rstrip("\n")

    def run(
        self,
        name: str,
        image: str = WEB,
        labels: Mapping[str, str] | None = None,
        *options: str,
        command: Sequence[str] = (),
    ) -> str:
        """Start a container and return its full ID.

        Args:
            name: at least two characters.
            image: one of :mod:`tests.support.images`.
            labels: labels; values may have several lines.
            options: of ``docker run``, e.g. ``"-p", "127.0.0.1::80"``.
            command: instead of the image's own.

        """
        arguments = _arguments(name, image, labels, options, command)
        self._made.append(name)
        return self.docker("run", "--detach", *arguments)

    def create(
        self,
        name: str,
        image: str = WEB,
        labels: Mapping[str, str] | None = None,
        *options: str,
        command: Sequence[str] = (),
    ) -> str:
        """Create a container without starting it; arguments as for :meth:`run`."""
        arguments = _arguments(name, image, labels, options, command)
        self._made.append(name)
        return self.docker("create", *arguments)

    def network(self, name: str, *options: str) -> str:
        """Create a network and return its ID; :meth:`clean` removes it after the containers."""
        self._networks.append(name)
        return self.docker("network", "create", *options, name)

    def rm(self, name: str) -> None:
        """Remove a container by force, with its anonymous volumes."""
        self.docker("rm", "-f", "-v", name)

    def inspect(self, name: str) -> dict[str, Any]:
        """Return ``docker inspect`` of a container."""
        found: dict[str, Any] = json.loads(self.docker("inspect", "--type", "container", name))[0]
        return found

    def clean(self) -> None:
        """Remove every container and network created through this object."""
        self._remove(0, 0)

    @contextlib.contextmanager
    def scope(self) -> Iterator[Engine]:
        """On exit, remove what was created through this object inside the block."""
        containers, networks = len(self._made), len(self._networks)
        try:
            yield self
        finally:
            self._remove(containers, networks)

    def ensure_images(self) -> None:
        """Build the missing images of :mod:`tests.support.images`."""
        there = self.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
        for image in IMAGES:
            if image not in there and f"localhost/{image}" not in there and f"docker.io/{image}" not in there:
                self.docker("build", "-q", "-t", image, "-", stdin=build_context(image))

    def close(self) -> None:
        """Remove what was created, and stop the daemon if the tests started it."""
        if self._relay:
            self._relay.close()
        if self.daemon is None:
            self.clean()
            return
        if self.daemon.pid:
            self.daemon.thaw()
            with contextlib.suppress(CommandFailed, subprocess.TimeoutExpired):
                self.docker("rm", "-f", "-v", *self.docker("ps", "-aq", timeout=10).split(), timeout=30)
        self.daemon.remove()

    def _remove(self, containers: int, networks: int) -> None:
        doomed = self._made[containers:]
        del self._made[containers:]
        there = set(self.docker("ps", "-a", "--format", "{{.Names}}").replace(",", "\n").split()) if doomed else set()
        if gone := [name for name in dict.fromkeys(doomed) if name in there]:
            self.docker("rm", "-f", "-v", *gone)
        for network in dict.fromkeys(self._networks[networks:]):
            with contextlib.suppress(CommandFailed):  # a test may have removed it
                self.docker("network", "rm", network)
        del self._networks[networks:]


def _arguments(
    name: str, image: str, labels: Mapping[str, str] | None, options: Sequence[str], command: Sequence[str]
) -> list[str]:
    flags = [flag for key, value in (labels or {}).items() for flag in ("--label", f"{key}={value}")]
    return ["--pull=never", "--name", name, *flags, *options, image, *command]


def named_engine() -> Engine | None:
    """Return the engine of ``PILOTAGE_TEST_ENGINE`` or else ``DOCKER_HOST``, with the test images; ``None`` if unset.

    Raises:
        EngineUnavailable: there is no docker CLI, or the engine does not answer.

    """
    host = MACHINE.get("PILOTAGE_TEST_ENGINE") or MACHINE.get("DOCKER_HOST")
    if not host:
        return None
    if shutil.which("docker") is None:
        raise EngineUnavailable(f"the tests need the docker CLI to use the engine {host}, and there is none")
    engine = Engine(host if "://" in host else f"unix://{Path(host).resolve()}")
    try:
        engine.ensure_images()
    except (CommandFailed, subprocess.TimeoutExpired) as why:
        raise EngineUnavailable(f"the engine {host} cannot be used for tests: {why}") from why
    return engine


def own_docker(
    generation: str = "system",
    *,
    tls: bool = False,
    images: bool = True,
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> Engine:
    """Start a Docker Engine; the caller closes it.

    Args:
        generation: ``"system"`` for what the system installs, or one of :data:`tests.support.install.SUITES`.
        tls: also listen with mutual TLS on loopback.
        images: build the test images.
        options: more options for dockerd.
        environment: more environment variables for dockerd.

    Raises:
        EngineUnavailable: it cannot run here.

    """
    daemon = Dockerd(engine_directory(), generation, tls=tls, options=options, variables=environment)
    return _started(daemon, images=images)


def own_podman() -> Engine:
    """Start a Podman service with the test images; the caller closes it.

    Raises:
        EngineUnavailable: it cannot run here.

    """
    return _started(Podman(engine_directory()), images=True)


def sweep() -> None:
    """Remove what dead sessions left behind: containers, mounts, bridges, namespaces, directories."""
    for left in abandoned():
        pid_file = left / "pid"
        if pid_file.exists() and Path("/proc", pid_file.read_text().strip()).exists():
            continue  # it is about to exit; the next session removes it
        kind = Podman if (left / "containers.conf").exists() else Dockerd
        kind(left).remove()


def _started(daemon: Daemon, *, images: bool) -> Engine:
    try:
        daemon.start()
        engine = Engine(daemon.host, daemon)
        if images:
            engine.ensure_images()
    except CommandFailed as why:
        daemon.remove()
        raise EngineUnavailable(f"the test images cannot be built: {why}") from why
    except BaseException:
        daemon.remove()
        raise
    return engine
