"""Install the programs that real engines need, which works as root on Debian.

Nothing here starts a service: test engines are child processes of the tests with their own directories.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

__all__ = ["EngineUnavailable", "cache_directory", "compose_path", "debian_packages", "dockerd_path", "version_of"]

#: Engine generation -> the Debian suite whose ``docker.io`` has it. The running system's own is called "system".
SUITES: Final = {"26.1": "trixie", "28.5": "forky"}

#: Program -> its Debian package.
DOCKER_PACKAGES: Final = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "iptables": "iptables",
    "ip": "iproute2",
    "setpriv": "util-linux",
    "busybox": "busybox-static",
}
PODMAN_PACKAGES: Final = {
    "podman": "podman",
    "runc": "runc",
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
    "catatonit": "catatonit",
    "docker": "docker.io",
    "iptables": "iptables",
    "ip": "iproute2",
    "setpriv": "util-linux",
    "busybox": "busybox-static",
}


class EngineUnavailable(Exception):
    """This machine cannot run an engine that a test needs; the message has the reason and the remedy."""


def cache_directory() -> Path:
    """Return the folder for downloaded engines: ``$ENGINE_CACHE``, else ``/var/cache/pilotage-engines``."""
    return Path(os.environ.get("ENGINE_CACHE") or "/var/cache/pilotage-engines")


def debian_packages(programs: dict[str, str]) -> None:
    """Install the packages of missing programs.

    Raises:
        EngineUnavailable: not root, not Debian, or apt failed (its last lines are in the text).

    """
    if os.geteuid() != 0:
        raise EngineUnavailable(
            "no container engine for tests: starting one needs root; "
            "name a running one with PILOTAGE_TEST_ENGINE or DOCKER_HOST",
        )
    if not _missing(programs):
        return
    if shutil.which("apt-get") is None:
        raise EngineUnavailable(
            f"no container engine for tests: {', '.join(_missing(programs))} missing, and there is no apt-get to "
            "install it; name a running engine with PILOTAGE_TEST_ENGINE or DOCKER_HOST",
        )
    options = ["-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-unsafe-io"]
    cache_directory().mkdir(parents=True, exist_ok=True)
    with (cache_directory() / "apt.lock").open("w") as lock:  # one test process at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if missing := _missing(programs):  # another process may just have installed them
            _apt(["apt-get", *options, "update"])
            _apt(["apt-get", *options, "--yes", "--no-install-recommends", "install", *missing])


def dockerd_path(generation: str) -> Path:
    """Return the ``dockerd`` of a generation (``"system"`` or a key of ``SUITES``), and download it if necessary.

    Only ``dockerd`` and ``docker-proxy`` come from the newer suite's package. They run with Debian 12's C library and
    use the system's containerd and runc. Both programs are in the same folder.

    Raises:
        EngineUnavailable: the configured Debian mirror does not have it, or it does not run here.

    """
    debian_packages(DOCKER_PACKAGES)
    if generation == "system":
        return Path(shutil.which("dockerd") or "/usr/sbin/dockerd")
    suite = SUITES[generation]
    kept = cache_directory() / generation
    if not (kept / "dockerd").exists():
        with tempfile.TemporaryDirectory(prefix="pilotage-dockerd-") as scratch:
            unpacked = _unpack(Path(scratch), suite, "docker.io") / "usr" / "sbin"
            found = version_of(unpacked / "dockerd")
            if not found.startswith(generation):
                raise EngineUnavailable(
                    f"dockerd {generation} is gone: Debian's suite {suite} now has {found}; "
                    "change SUITES in tests/support/install.py"
                )
            kept.mkdir(parents=True, exist_ok=True)
            for program in ("docker-proxy", "dockerd"):
                _keep(unpacked / program, kept / program)
    return kept / "dockerd"


def compose_path() -> Path:
    """Return the program of Docker Compose 2, and download it if necessary; it does not need ``docker``.

    Raises:
        EngineUnavailable: the configured Debian mirror does not have it, or it does not run here.

    """
    kept = cache_directory() / "compose" / "docker-compose"
    if not kept.exists():
        debian_packages(DOCKER_PACKAGES)
        with tempfile.TemporaryDirectory(prefix="pilotage-compose-") as scratch:
            program = (
                _unpack(Path(scratch), "trixie", "docker-compose") / "usr/libexec/docker/cli-plugins/docker-compose"
            )
            version_of(program, "version")
            kept.parent.mkdir(parents=True, exist_ok=True)
            _keep(program, kept)
    return kept


def _keep(program: Path, kept: Path) -> None:
    fresh = kept.with_name(f".{kept.name}.{os.getpid()}")
    shutil.copy2(program, fresh)
    fresh.rename(kept)


def version_of(program: Path, how: str = "--version") -> str:
    """Return the version that ``PROGRAM --version`` prints, e.g. ``"20.10.24+dfsg1"``.

    Raises:
        EngineUnavailable: the program does not run on this system.

    """
    done = subprocess.run([program, how], capture_output=True, text=True, check=False, timeout=30)
    said = re.search(r"version v?(\d[^\s,]*)", done.stdout)
    if done.returncode != 0 or said is None:
        raise EngineUnavailable(f"{program} does not run on this system: {(done.stderr or done.stdout).strip()[-300:]}")
    return said[1]


def _missing(programs: dict[str, str]) -> list[str]:
    return sorted({package for program, package in programs.items() if not _is_installed(program)})


def _is_installed(program: str) -> bool:
    if program == "busybox":  # only Debian's static one is sure to have the web server
        path = Path("/bin/busybox")
        return path.exists() and b"httpd" in subprocess.run([path, "--list"], capture_output=True, check=False).stdout
    return shutil.which(program) is not None


def _apt(command: list[str], cwd: Path | None = None) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    until = time.monotonic() + 300
    while True:  # apt itself waits for the lock of its packages, but not for that of its lists
        done = subprocess.run(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        taken = re.search(r"Could not get lock (/\S+?)\.? ", done.stderr)
        if taken is None or time.monotonic() > until:
            break
        with Path(taken[1]).open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)  # returns when the other apt has released it
    if done.returncode != 0:
        raise EngineUnavailable(f"{' '.join(command[:1] + command[-2:])} failed: {done.stderr.strip()[-400:]}")


def _unpack(scratch: Path, suite: str, name: str) -> Path:
    """Download a package of a suite from this machine's configured mirror, unpack it, and return the folder."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=False, timeout=60
    ).stdout.split()
    mirror = next((uri for uri in targets if uri.rstrip("/").endswith("/debian")), "")
    if not mirror:
        raise EngineUnavailable(f"no Debian mirror is configured here to fetch {name} of the suite {suite} from")
    (scratch / "lists" / "partial").mkdir(parents=True)
    sources = scratch / "sources.list"
    sources.write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n")
    private = [
        *("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"),
        *("-o", f"Dir::State::lists={scratch / 'lists'}", "-o", "APT::Sandbox::User=root"),
        # leave the system's own package caches alone
        *("-o", f"Dir::Cache::pkgcache={scratch / 'pkg.bin'}", "-o", f"Dir::Cache::srcpkgcache={scratch / 'src.bin'}"),
    ]
    _apt(["apt-get", "-qq", *private, "update"])
    _apt(["apt-get", "-qq", *private, "download", f"{name}/{suite}"], cwd=scratch)
    package = next(scratch.glob(f"{name}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", package, scratch / "root"], check=True, timeout=120)
    return scratch / "root"
