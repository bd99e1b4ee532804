"""Serializes containers as Docker and Podman do, as list entries and inspections.

Keys and value types are those of real engines; inspections have a realistic subset of the keys. Differences that matter
to clients: Podman's list lacks ``HostConfig`` and unpublished ports, and has null instead of an empty map of networks.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pilotage.testing.container import FakeContainer, FakePort
    from pilotage.testing.dialect import Dialect

__all__ = ["inspect", "network_id", "summary"]

#: Further keys of Podman's list, always empty.
_PODMAN_EXTRA: Final = {
    "Name": "",
    "Config": None,
    "NetworkingConfig": None,
    "Platform": None,
}


def summary(it: FakeContainer, dialect: Dialect, *, with_health: bool = False) -> dict[str, Any]:
    """Return a container's entry in the response to ``GET /containers/json``.

    Args:
        it: the container.
        dialect: the engine being imitated.
        with_health: include ``Health``, as API 1.52 and later do.

    """
    if it.raw is not None:
        return it.raw | {"State": it.state, "Status": it.raw["Status"] if it.state == it.raw["State"] else _status(it)}
    found: dict[str, Any] = {
        "Id": it.id,
        "Names": [*it.links, f"/{it.name}"] if it.name else [],
        "Image": _image(it, dialect),
        "ImageID": image_id(it.image),
        "Command": " ".join(it.command),
        "Created": it.created,
        "Ports": _listed_ports(it, dialect),
        "Labels": it.labels,
        "State": it.state,
        "Status": _status(it, told=not dialect.podman),
    }
    if not dialect.podman:
        found["HostConfig"] = {"NetworkMode": _mode(it, dialect)}
    found["NetworkSettings"] = {"Networks": _networks(it, dialect)}
    found["Mounts"] = [_mount(source, destination) for source, destination in it.mounts]
    if dialect.podman:
        found |= _PODMAN_EXTRA | {"DefaultReadOnlyNonRecursive" if dialect.modern else "AdjustCPUShares": False}
    if with_health:
        found["Health"] = {"Status": it.health or "none", "FailingStreak": 1 if it.health == "unhealthy" else 0}
    return found


def inspect(it: FakeContainer, dialect: Dialect) -> dict[str, Any]:
    """Return a container's inspection: the response to ``GET /containers/{id}/json``."""
    if it.raw_inspect is not None:
        changed = {"Status": it.state, "Running": it.alive, "Paused": it.state == "paused"}
        return it.raw_inspect | {"State": it.raw_inspect["State"] | changed}
    networks = _networks(it, dialect)
    first: dict[str, Any] = next(iter((networks or {}).values()), {})
    moment = _moment(it.created)
    state: dict[str, Any] = {
        "Status": it.state,
        "Running": it.alive or it.state == "restarting",
        "Paused": it.state == "paused",
        "Restarting": it.state == "restarting",
        "OOMKilled": it.oom_killed,
        "Dead": it.state == "dead",
        "Pid": 4242 if it.alive else 0,
        "ExitCode": it.exit_code,
        "Error": "",
        "StartedAt": "0001-01-01T00:00:00Z" if it.state == "created" else _start(it),
        "FinishedAt": moment if it.state == "exited" else "0001-01-01T00:00:00Z",
    }
    if it.health or (dialect.podman and not dialect.modern):
        state["Health"] = {"Status": it.health, "FailingStreak": 0, "Log": [] if it.health else None}
    special = it.network_mode in {"host", "none"} or it.network_mode.startswith("container:")
    silent = dialect.podman and not dialect.modern and special
    exposed: dict[str, dict[str, str]] = {f"{port.private}/{port.protocol}": {} for port in it.ports}
    return {
        "Id": it.id,
        "Created": moment,
        "Path": it.command[0] if it.command else "",
        "Args": list(it.command[1:]),
        "State": state,
        "Image": image_id(it.image),
        "Name": f"/{it.name}",
        "RestartCount": 0,
        "Driver": "overlay" if dialect.podman else "overlay2",
        "Platform": "linux",
        "HostConfig": {
            "NetworkMode": _inspected_mode(it, dialect),
            "PortBindings": _bindings(it, dialect, configured=True),
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "AutoRemove": False,
            "Privileged": False,
            "PublishAllPorts": False,
            "ReadonlyRootfs": False,
        },
        "Mounts": [_mount(source, destination) for source, destination in it.mounts],
        "Config": {
            "Hostname": it.id[:12],
            "Domainname": "",
            "User": "",
            "Tty": False,
            "OpenStdin": False,
            **({"ExposedPorts": exposed} if exposed and not silent else {}),
            "Cmd": list(it.command),
            "Image": _image(it, dialect),
            "WorkingDir": "",
            "Labels": it.labels,
            **({"StopSignal": "15"} if dialect.podman else {}),
        },
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": "",
            "HairpinMode": False,
            "Ports": _bindings(it, dialect, configured=False),
            "SandboxKey": "",
            "EndpointID": first.get("EndpointID", ""),
            "Gateway": first.get("Gateway", ""),
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "IPAddress": first.get("IPAddress", ""),
            "IPPrefixLen": first.get("IPPrefixLen", 0),
            "IPv6Gateway": "",
            "MacAddress": first.get("MacAddress", ""),
            "Networks": networks or {},
        },
    }


def image_id(image: str) -> str:
    """Return the fake ID of an image, derived from its name."""
    return "sha256:" + hashlib.sha256(image.encode()).hexdigest()


def network_id(name: str, dialect: Dialect) -> str:
    """Return a network's ID; Podman before version 5 uses the name."""
    if dialect.podman and not dialect.modern:
        return name
    return hashlib.sha256(f"network {name}".encode()).hexdigest()


def _image(it: FakeContainer, dialect: Dialect) -> str:
    """Return the listed image name: Docker keeps it as typed, Podman prepends the registry."""
    head = it.image.split("/")[0]
    if not dialect.podman or "." in head or ":" in head or head == "localhost":
        return it.image
    return f"docker.io/{it.image}" if "/" in it.image else f"docker.io/library/{it.image}"


def _status(it: FakeContainer, *, told: bool = True) -> str:
    match it.state:
        case "running":
            shown = "health: starting" if it.health == "starting" else it.health
            return "Up 2 minutes" + (f" ({shown})" if shown and told else "")
        case "paused":
            return "Up 2 minutes (Paused)"
        case "restarting":
            return f"Restarting ({it.exit_code}) 2 seconds ago"
        case "exited":
            return f"Exited ({it.exit_code}) 2 minutes ago"
        case "removing":
            return "Removal In Progress"
        case _:
            return it.state.capitalize()


def _mode(it: FakeContainer, dialect: Dialect) -> str:
    return "bridge" if it.network_mode == "default" and dialect.modern else it.network_mode


def _inspected_mode(it: FakeContainer, dialect: Dialect) -> str:
    special = it.network_mode in {"host", "none"} or it.network_mode.startswith("container:")
    return "bridge" if dialect.podman and not special else _mode(it, dialect)


def _listed_ports(it: FakeContainer, dialect: Dialect) -> list[dict[str, Any]]:
    if it.network_mode in {"host", "none"}:
        return []
    if dialect.podman:  # listed even while stopped
        return [_entry(port, port.ip) for port in it.ports if port.public]
    if not it.alive:
        return []
    found = []
    for port in it.ports:
        found += [_entry(port, ip) for ip in _host_addresses(port)] if port.public else [_entry(port, "")]
    return found


def _host_addresses(port: FakePort) -> tuple[str, ...]:
    return (port.ip,) if port.ip else ("0.0.0.0", "::")  # noqa: S104 (what Docker lists for "all addresses")


def _entry(port: FakePort, ip: str) -> dict[str, Any]:
    found: dict[str, Any] = {"IP": ip} if ip else {}
    found["PrivatePort"] = port.private
    if port.public:
        found["PublicPort"] = port.public
    found["Type"] = port.protocol
    return found


def _bindings(it: FakeContainer, dialect: Dialect, *, configured: bool) -> dict[str, Any]:
    """Return ``PortBindings`` (if ``configured``) or ``Ports`` (those in effect: on Docker, none while stopped)."""
    apart = it.network_mode == "host" or (it.network_mode == "none" and not (dialect.podman and dialect.modern))
    if apart or (not configured and not it.alive and not dialect.podman):
        return {}
    found: dict[str, Any] = {}
    for port in it.ports:
        key = f"{port.private}/{port.protocol}"
        if not port.public:
            if not configured or (dialect.podman and not dialect.modern):
                found.setdefault(key, None)
            continue
        if port.ip:
            hosts: tuple[str, ...] = (port.ip,)
        elif dialect.podman:
            hosts = ("0.0.0.0",) if dialect.modern else ("",)  # noqa: S104 (what Podman lists for "all addresses")
        else:
            hosts = ("",) if configured else _host_addresses(port)
        found[key] = (found.get(key) or []) + [{"HostIp": host, "HostPort": str(port.public)} for host in hosts]
    return found


def _networks(it: FakeContainer, dialect: Dialect) -> dict[str, Any] | None:
    if dialect.podman and not dialect.modern and it.network_mode in {"host", "none"}:
        return None
    return {name: _endpoint(it, dialect, name, address) for name, address in it.networks.items()}


def _endpoint(it: FakeContainer, dialect: Dialect, name: str, address: str) -> dict[str, Any]:
    here = address if it.alive else ""
    own = it.network_mode in {"host", "none"}
    never = it.state == "created" and not dialect.podman
    endpoint = "" if dialect.podman or not it.alive else hashlib.sha256(f"{it.id} {name}".encode()).hexdigest()
    found: dict[str, Any] = {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": [it.id[:12]] if dialect.podman and not own else None,
        "NetworkID": "" if never else name if own and dialect.podman else network_id(name, dialect),
        "EndpointID": endpoint,
        "Gateway": here.rpartition(".")[0] + ".1" if here else "",
        "IPAddress": here,
        "IPPrefixLen": 16 if here else 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": "02:42:" + ":".join(f"{int(part):02x}" for part in here.split(".")) if here else "",
        "DriverOpts": None,
    }
    if dialect.modern:
        found["DNSNames"] = None
    if not dialect.podman and dialect.major >= 28:
        found["GwPriority"] = 0
    return found


def _mount(source: str, destination: str) -> dict[str, Any]:
    shared = {"Source": source, "Destination": destination, "Mode": "", "RW": True, "Propagation": ""}
    if source.startswith("/"):
        return {"Type": "bind", **shared, "Propagation": "rprivate"}
    path = f"/var/lib/engine/volumes/{source}/_data"
    return {"Type": "volume", "Name": source, **shared, "Source": path, "Driver": "local", "Mode": "z"}


def _start(it: FakeContainer) -> str:
    if not it.started:
        return _moment(it.created)
    seconds, fraction = divmod(it.started, 1_000_000_000)
    return f"{_moment(seconds)[:-1]}.{fraction:09}Z"


def _moment(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
