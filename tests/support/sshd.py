"""An ssh server on loopback, and an ``ssh`` with its own configuration that ignores ``~/.ssh``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.install import debian_packages
from tests.support.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Sshd"]

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AcceptEnv *
SetEnv DOCKER_HOST={docker_host}
MaxStartups 100
"""

_CLIENT = """\
Host *
  IdentityFile {folder}/user
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
  StrictHostKeyChecking ask
  SendEnv *
Host farBox
  HostName 127.0.0.1
  Port {port}
  User {user}
"""

_WRAPPER = """\
#!/bin/sh
exec {ssh} -F {folder}/ssh_config "$@"
"""


class Sshd:
    """The server. It runs as the current user and admits nobody else.

    Args:
        folder: for its keys and configuration.
        docker_host: ``DOCKER_HOST`` in its sessions.

    Attributes:
        port: where it listens.
        user: the user who may log in.
        environment_file: the environment of the last session, one variable a line.

    """

    def __init__(self, folder: Path, docker_host: str) -> None:
        debian_packages({"/usr/sbin/sshd": "openssh-server", "ssh-keygen": "openssh-client"})
        self.folder, self.port = folder, free_port()
        self.user = os.environ.get("USER") or Path.home().owner()
        self.environment_file = folder / "environment"
        for key in ("host", "user", "stranger", "bare"):
            self._make_key(key)
        self._make_key("locked", "a pass phrase")
        self.write("sshd_config", _SERVER, docker_host=docker_host)
        self.write("ssh_config", _CLIENT)
        self._authorize()
        self.trust("host")
        wrapper = self.folder / "bin" / "ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(_WRAPPER.format(ssh=shutil.which("ssh"), folder=folder))
        wrapper.chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)  # the server's chroot folder
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"], stderr=log, stdin=subprocess.DEVNULL
            )
        self._wait()

    def _make_key(self, name: str, phrase: str = "") -> None:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", self.folder / name],
            check=True,
            stdin=subprocess.DEVNULL,
        )

    def _wait(self) -> None:
        log = self.folder / "log"

        def why() -> str:
            return f"sshd does not start: {log.read_text(errors='replace')}"

        wait_until(lambda: b"Server listening" in log.read_bytes() or self._process.poll() is not None, why)
        assert self._process.poll() is None, why()

    def _authorize(self) -> None:
        """Authorize a key whose sessions record their environment, and one whose sessions have no docker."""
        note = f'command="env > {self.environment_file}; exec sh -c \\"$SSH_ORIGINAL_COMMAND\\""'
        bare = 'command="PATH=/nowhere; eval \\"$SSH_ORIGINAL_COMMAND\\""'
        keys = {name: (self.folder / f"{name}.pub").read_text() for name in ("user", "bare", "locked")}
        lines = [f"{note} {keys['user']}", f"{bare} {keys['bare']}", keys["locked"]]
        (self.folder / "authorized_keys").write_text("".join(lines))

    def write(self, name: str, template: str, **values: str) -> None:
        """Write one of the configuration files."""
        text = template.format(folder=self.folder, port=self.port, user=self.user, **values)
        (self.folder / name).write_text(text)

    def trust(self, key: str | None) -> None:
        """Put this key of the server into ``known_hosts``; none for ``None``."""
        kind = "" if key is None else " ".join((self.folder / f"{key}.pub").read_text().split()[:2])
        names = f"[127.0.0.1]:{self.port}"
        (self.folder / "known_hosts").write_text(f"{names} {kind}\n" if kind else "")

    def log_in_with(self, key: str) -> None:
        """Make ``ssh`` use this key: ``user``, ``stranger``, ``locked``, or ``bare``, whose session has no docker."""
        self.write("ssh_config", _CLIENT.replace("{folder}/user", f"{{folder}}/{key}"))

    @property
    def url(self) -> str:
        """Address of the engine behind the server."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    def environment(self) -> Mapping[str, str]:
        """Return environment variables that make ``ssh`` use this server's configuration."""
        return {"PATH": f"{self.folder}/bin:{os.environ['PATH']}"}

    def sessions(self) -> list[int]:
        """Return the processes of the open sessions."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def cut(self) -> None:
        """Kill all sessions."""
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """Stop the server and its sessions."""
        self.cut()
        self._process.terminate()
        self._process.wait(10)
