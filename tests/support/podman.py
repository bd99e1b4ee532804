"""A Podman API service as a second kind of real engine: the system's version, 4.3 on Debian 12.

It needs no systemd. It runs in its own network namespace, because its network program always writes iptables rules;
the containers' addresses and published ports can be reached only from inside that namespace. Without systemd no health
check runs on schedule: ``GET /v4.0.0/libpod/containers/NAME/healthcheck`` runs one.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from tests.support.daemon import Daemon, ip_command
from tests.support.install import PODMAN_PACKAGES, debian_packages

__all__ = ["Podman"]

# runc, because crun refuses hybrid control groups; low limits, because raising them takes a capability that root may
# lack; files and cgroupfs, because there may be no journal and no systemd.
_CONTAINERS: Final = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{here}/net"
"""
_STORAGE: Final = '[storage]\ndriver = "overlay"\ngraphroot = "{here}/root"\nrunroot = "{here}/run"\n'
_REGISTRIES: Final = 'unqualified-search-registries = ["docker.io"]\n'
_POLICY: Final = '{"default": [{"type": "insecureAcceptAnything"}]}\n'


class Podman(Daemon):
    """A Podman service; like all of Podman's, its containers outlive it."""

    @property
    def namespace(self) -> str:
        """Name of its network namespace."""
        return self.bridge

    def command(self) -> list[str]:
        """Return podman's command line; write its configuration and create its network namespace."""
        debian_packages(PODMAN_PACKAGES)
        for folder in ("root", "run", "tmp", "net", "vol", "runtime"):
            (self.directory / folder).mkdir(exist_ok=True)
        for name, text in (("containers", _CONTAINERS), ("storage", _STORAGE), ("registries", _REGISTRIES)):
            (self.directory / f"{name}.conf").write_text(text.format(here=self.directory))
        policy = Path("/etc/containers/policy.json")
        if not policy.exists():  # builds read this file, and no option moves it
            policy.parent.mkdir(parents=True, exist_ok=True)
            policy.write_text(_POLICY)
        if not Path("/run/netns", self.namespace).exists():
            ip_command("netns", "add", self.namespace, check=True)
            ip_command("-n", self.namespace, "link", "set", "lo", "up", check=True)
        # `ip netns exec` would hide the control groups
        inside = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        return [*inside, *self._podman(), "system", "service", "--time=0", f"unix://{self.socket}"]

    def environment(self) -> dict[str, str]:
        """Return an environment that points to its own configuration files."""
        here = self.directory
        return super().environment() | {
            "CONTAINERS_CONF": f"{here}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{here}/storage.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{here}/registries.conf",
            "XDG_RUNTIME_DIR": f"{here}/runtime",
            "PATH": f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin",
        }

    def run(self, *arguments: str) -> str:
        """Run ``podman ARGUMENTS`` in the service's namespace, for what the API cannot do; return its output.

        Raises:
            CalledProcessError: its exit status is not 0.

        """
        inside = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        command = [*inside, *self._podman(), *arguments]
        done = subprocess.run(command, env=self.environment(), capture_output=True, check=True, text=True, timeout=60)
        return done.stdout

    def remove(self) -> None:
        """Remove the containers, stop the service, and remove everything that they created."""
        self.stop()
        if (self.directory / "containers.conf").exists():
            subprocess.run(
                [*self._podman(), "rm", "--all", "--force", "--time", "0"],
                env=self.environment(), capture_output=True, check=False, timeout=60,
            )  # fmt: skip
        super().remove()
        if Path("/run/netns", self.namespace).exists():
            ip_command("netns", "del", self.namespace)

    def _podman(self) -> list[str]:
        here = self.directory
        folders = ["--root", f"{here}/root", "--runroot", f"{here}/run", "--tmpdir", f"{here}/tmp"]
        return ["podman", *folders, "--volumepath", f"{here}/vol"]
