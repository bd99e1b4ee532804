"""Container lists like a real Docker Engine's: about 2 kB and 14 labels each, every container its own application."""

from __future__ import annotations

import json

__all__ = ["containers", "list_body"]


def _container(index: int) -> dict[str, object]:
    name = f"app-{index}"
    address = f"10.{64 + (index >> 16)}.{(index >> 8) & 255}.{index & 255}"
    return {
        "Id": f"{index:064x}",
        "Names": [f"/{name}"],
        "Image": f"ghcr.io/acme/{name}:1.{index % 7}.{index % 11}",
        "ImageID": f"sha256:{index * 7919:064x}",
        "Command": "/usr/local/bin/app --serve --config /etc/app/config.yml",
        "Created": 1_700_000_000 + index,
        "Ports": [
            {"PrivatePort": 8080, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 9090, "PublicPort": 10_000 + index % 50_000, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 9090, "PublicPort": 10_000 + index % 50_000, "Type": "tcp"},
        ],
        "Labels": {
            "proxy.aliases": name,
            f"proxy.{name}.port": "8080",
            f"proxy.{name}.scheme": "http",
            f"proxy.{name}.healthcheck.path": f"/healthz/{index % 20}",
            "com.docker.compose.project": f"project-{index // 5}",
            "com.docker.compose.service": name,
            "com.docker.compose.config-hash": f"{index * 104729:064x}",
            "com.docker.compose.container-number": "1",
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.version": "2.40.3",
            "com.docker.compose.project.working_dir": f"/srv/project-{index // 5}",
            "com.docker.compose.project.config_files": f"/srv/project-{index // 5}/compose.yml",
            "com.docker.compose.depends_on": "",
            "org.opencontainers.image.version": "1.2.3",
        },
        "State": "running",
        "Status": "Up 3 hours",
        "HostConfig": {"NetworkMode": f"project-{index // 5}_default"},
        "NetworkSettings": {
            "Networks": {
                f"project-{index // 5}_default": {
                    "IPAMConfig": None,
                    "Links": None,
                    "Aliases": [name, f"project-{index // 5}-{name}-1"],
                    "MacAddress": "02:42:0a:00:00:01",
                    "NetworkID": f"{index // 5:064x}",
                    "EndpointID": f"{index * 31:064x}",
                    "Gateway": "10.64.0.1",
                    "IPAddress": address,
                    "IPPrefixLen": 16,
                    "IPv6Gateway": "",
                    "GlobalIPv6Address": "",
                    "GlobalIPv6PrefixLen": 0,
                    "DriverOpts": None,
                }
            }
        },
        "Mounts": [
            {
                "Type": "volume",
                "Name": f"project-{index // 5}_data",
                "Source": f"/var/lib/docker/volumes/project-{index // 5}_data/_data",
                "Destination": "/data",
                "Driver": "local",
                "Mode": "z",
                "RW": True,
                "Propagation": "",
            }
        ],
    }


def containers(count: int) -> list[dict[str, object]]:
    """Return ``count`` elements of a list."""
    return [_container(index) for index in range(count)]


def list_body(count: int) -> bytes:
    """Return the body of ``GET /containers/json`` with ``count`` containers."""
    return json.dumps(containers(count), separators=(",", ":")).encode()
