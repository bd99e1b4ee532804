"""Engine daemons as child processes of the tests: start, stop, kill, freeze and clean up.

Each has a directory on a real file system, because overlayfs cannot hold image layers. A Docker Engine has its own
bridge and addresses, and touches neither iptables nor any other engine. If the session dies, the kernel ends its
daemons (``setpriv --pdeathsig``), and the next session removes what they leave behind.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

from tests.support.certs import make_certificates
from tests.support.install import EngineUnavailable, dockerd_path, version_of
from tests.support.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Daemon", "Dockerd", "abandoned", "engine_directory", "ip_command", "speak"]

_PREFIX: Final = "pilotage-engine-"
_WORKERS: Final = 8


def engine_directory() -> Path:
    """Make a new directory for one engine; its name contains the ID of the process that owns it.

    Raises:
        EngineUnavailable: the usual places for temporary files are all on overlayfs or in memory.

    """
    for place in _places():
        if _file_system(place) not in {"overlay", "tmpfs", "ramfs", "aufs"}:
            return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
    raise EngineUnavailable(
        f"no container engine for tests: {', '.join(map(str, _places()))} are on overlayfs or in memory; "
        "name a directory on a disk with ENGINE_DIR, or a running engine with PILOTAGE_TEST_ENGINE",
    )


def abandoned() -> list[Path]:
    """Return the directories of engines whose session has died."""
    found = []
    for place in _places():
        for left in place.glob(f"{_PREFIX}*"):
            owner = left.name.removeprefix(_PREFIX).partition("-")[0]
            if owner.isdecimal() and not Path("/proc", owner).exists():
                found.append(left)
    return found


class Daemon(ABC):
    """One engine's process and its directory.

    Attributes:
        directory: all the engine's files; kept between stop and start, deleted by :meth:`remove`.
        socket: the path of its unix socket.

    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "engine.sock"
        self.subnet = ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """The engine's address as ``DOCKER_HOST`` wants it."""
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """Process ID, or 0 if the daemon does not run."""
        return self._process.pid if self._process is not None and self.is_running() else 0

    def is_running(self) -> bool:
        """Return whether the process exists; a frozen one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """Everything that the daemon has logged."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def bridge(self) -> str:
        """Name of the engine's network bridge; interface names have at most 15 characters."""
        return "pt" + self.directory.name[-8:].replace("_", "x")

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command line, and prepare the files that it needs."""

    def environment(self) -> dict[str, str]:
        """Return the environment of the process."""
        return {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}

    #: Name of the running test if it lacks the marker ``engine`` and so may start no engine.
    forbidden: ClassVar[str] = ""

    def start(self, timeout: float = 60) -> None:
        """Start the daemon and wait until it answers.

        Raises:
            EngineUnavailable: it exited or did not answer in time; the message has the end of its log.
            RuntimeError: the running test does not carry the marker ``engine``.

        """
        if self.is_running():
            return
        if self.forbidden:
            raise RuntimeError(f"{self.forbidden} starts a container engine without the marker 'engine'")
        if not self.subnet:
            self.subnet = _unused_subnet()
        self.socket.unlink(missing_ok=True)
        command = ["setpriv", "--pdeathsig", "TERM", *self.command()]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=self.environment(),
                start_new_session=True,  # Ctrl-C in the terminal is for pytest alone
            )  # fmt: skip
        try:
            wait_until(lambda: _answers(self.socket) or not self.is_running(), patience=timeout)
        except AssertionError:
            self._give_up(f"{command[3]} did not answer")
        if not self.is_running():
            self._give_up(f"{command[3]} ended at once")

    def _give_up(self, why: str) -> NoReturn:
        tail = " | ".join(self.log.splitlines()[-5:])
        self.kill()
        raise EngineUnavailable(f"{why}: {tail}")

    def stop(self, timeout: float = 20) -> None:
        """Stop the daemon gracefully (SIGTERM): its containers stop, and its socket disappears."""
        if self.is_running():
            self.thaw()
            os.kill(self.pid, signal.SIGTERM)
        self._reap(timeout)

    def kill(self) -> None:
        """Kill the daemon (SIGKILL): its containers keep running, and its socket's file stays."""
        if self.is_running():
            os.kill(self.pid, signal.SIGKILL)
        self._reap(10)

    def freeze(self) -> None:
        """Freeze the daemon (SIGSTOP): the kernel accepts connections, but nothing answers.

        Return once every thread has stopped: on a busy machine some run on for a while after the signal.
        """
        os.kill(self.pid, signal.SIGSTOP)
        threads = Path(f"/proc/{self.pid}/task")
        wait_until(
            lambda: all(map(_is_stopped, threads.iterdir())),
            lambda: f"process {self.pid} did not stop within 10 s",
            patience=10,
        )

    def thaw(self) -> None:
        """Resume a frozen daemon."""
        if self.is_running():
            os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """Stop the daemon and remove everything that it created on this machine."""
        self.stop()
        _clear_away(self.directory)
        ip_command("link", "del", self.bridge)

    def _reap(self, timeout: float) -> None:
        if self._process is not None:
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None
        # a daemon refuses to start while the file of a killed predecessor exists
        (self.directory / "pid").unlink(missing_ok=True)


class Dockerd(Daemon):
    """A Docker Engine.

    Attributes:
        generation: ``"system"`` or one of :data:`tests.support.install.SUITES`; may be changed between stop and start.
        tls_url: address with mutual TLS, or ``None``; ``cert_dir`` has the client's files.

    """

    def __init__(
        self,
        directory: Path,
        generation: str = "system",
        *,
        tls: bool = False,
        options: tuple[str, ...] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.variables = variables or {}
        self.generation = generation
        self.options = options
        self._crashed = False
        self.tls_url = f"tcp://127.0.0.1:{free_port()}" if tls else None
        self.cert_dir = directory / "certs" if tls else None
        if self.cert_dir:
            make_certificates(self.cert_dir)

    def command(self) -> list[str]:
        """Return dockerd's command line; create the bridge and the configuration file."""
        program = dockerd_path(self.generation)
        major = int(version_of(program).split(".")[0])
        here = self.directory
        (here / "daemon.json").write_text("{}")
        if not Path("/sys/class/net", self.bridge).exists():
            ip_command("link", "add", self.bridge, "type", "bridge", check=True)
            ip_command("addr", "add", f"{self.subnet}.0.1/24", "dev", self.bridge, check=True)
        ip_command("link", "set", self.bridge, "up", check=True)
        command = [str(program), "--config-file", f"{here}/daemon.json", "--pidfile", f"{here}/pid"]
        command += ["--data-root", f"{here}/data", "--exec-root", f"{here}/exec", "-H", self.host]
        # never --bridge=none: Docker then deletes the docker0 of another engine on this machine
        command += ["--bridge", self.bridge, "--default-address-pool", f"base={self.subnet}.64.0/18,size=26"]
        command += ["--iptables=false", "--ip-forward=false"]
        command += ["--ip6tables=false"] if major >= 27 else ["--ip-masq=false"]
        if self.tls_url:
            certificates = [f"--tls{kind}={self.cert_dir}/{name}.pem" for kind, name in _TLS_FILES]
            command += ["-H", self.tls_url, "--tlsverify", *certificates]
        return [*command, *self.options]

    def environment(self) -> dict[str, str]:
        """Return an environment whose PATH has this generation's ``docker-proxy`` first."""
        env = super().environment()
        beside = dockerd_path(self.generation).parent
        path = os.pathsep.join([str(beside), env.get("PATH", os.defpath), "/usr/sbin"])
        return {**env, **self.variables, "PATH": path}

    def kill(self) -> None:
        """Kill the daemon: its containers keep running, its containerd dies with it."""
        super().kill()
        self._crashed = True
        # Until containerd is reaped, its pid looks alive, and the next dockerd would wait for it.
        left = self.directory / "exec" / "containerd" / "containerd.pid"
        wait_until(lambda: not left.exists() or not _is_alive(left.read_text().strip()), lambda: f"{left} lives on")
        left.unlink(missing_ok=True)

    def remove(self) -> None:
        """Stop the daemon and remove everything that it created; after a crash, start it once more to do so."""
        if self._crashed and not self.is_running():  # its containers still run, and only a daemon can stop them cleanly
            with contextlib.suppress(EngineUnavailable):
                self.start()
        self._crashed = False
        super().remove()


_TLS_FILES: Final = (("cacert", "ca"), ("cert", "server"), ("key", "server-key"))


def _places() -> list[Path]:
    named = os.environ.get("ENGINE_DIR")
    return [Path(place) for place in dict.fromkeys([*([named] if named else []), "/var/tmp", "/tmp", "/var/cache"])]


def speak(path: Path | str, method: str, target: str, timeout: float = 30) -> tuple[int, bytes]:
    """Send one request to a unix socket; return the status and the body of the response."""
    connection = http.client.HTTPConnection("engine")
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(timeout)
        connection.sock.connect(str(path))
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _answers(path: Path) -> bool:
    try:
        return speak(path, "GET", "/_ping", timeout=2)[0] == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def _is_alive(pid: str) -> bool:
    """Return whether a process runs and is not a zombie."""
    try:
        state = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def ip_command(*arguments: str, check: bool = False) -> None:
    """Run ``ip ARGUMENTS``; with ``check``, a failure raises :class:`EngineUnavailable`."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, timeout=20)
    if check and done.returncode != 0:
        raise EngineUnavailable(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _unused_subnet() -> str:
    """Return the prefix of a /16 that no interface or route of this machine uses, e.g. ``"10.37"``."""
    known = subprocess.run(
        ["ip", "-4", "route", "show", "table", "all"], capture_output=True, text=True, check=False
    ).stdout
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    mine = range(1 + worker, 255, _WORKERS)  # two workers never pick the same one
    return next(subnet for n in random.sample(mine, len(mine)) if f"{(subnet := f'10.{n}')}." not in known)


def _file_system(path: Path) -> str:
    """Return the file system type of a directory."""
    best, kind = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, mount, fstype, *_ = line.split()
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, fstype
    return kind


def _clear_away(directory: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], capture_output=True, check=False, timeout=20)
    ip_command("link", "del", "pt" + directory.name[-8:].replace("_", "x"))
    shutil.rmtree(directory, ignore_errors=True)


def _is_stopped(task: Path) -> bool:
    """Return whether a thread is stopped, or has ended meanwhile."""
    try:
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in {"T", "t", "Z", "X"}
