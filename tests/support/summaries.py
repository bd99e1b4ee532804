"""Elements of an engine's container list with usual values that tests override."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pilotage import Built, Container, DockerProviderConfig, Route, build_routes, from_docker
from pilotage.policy import NO_POLICY, Claimant, Policy, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

ID: Final = "4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2"
LOCAL: Final = DockerProviderConfig(url="unix:///var/run/docker.sock", name="local")
REMOTE: Final = DockerProviderConfig(url="tcp://192.168.50.10:2375", name="remote")
ADDRESS: Final = "172.17.0.5"


class _Lenient(Policy, frozen=True, kw_only=True):
    """Lets labels name any file, even by a relative path, and any target, as in 0.1.0."""

    def may_reach(self, *_: Any, **__: Any) -> Verdict:
        return Verdict(allowed=True)

    def may_read(self, claimant: Claimant, path: str) -> Verdict:
        return Verdict(allowed=True)

    def may_publish(self, claimant: Claimant, folder: str) -> Verdict:
        return Verdict(allowed=True)


LENIENT: Final = _Lenient(stream_ports=((1, 65535),))


def summary(name: str = "web", labels: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    """An element of an engine's list: a running container at 172.17.0.5 that exposes port 80."""
    plain: dict[str, Any] = {
        "Id": ID,
        "Names": [f"/{name}"],
        "Image": "acme/web:1.0",
        "ImageID": "sha256:0123",
        "Created": 1_700_000_000,
        "State": "running",
        "Status": "Up 3 hours",
        "Labels": dict(labels or {}),
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": ADDRESS}}},
        "HostConfig": {"NetworkMode": "bridge"},
        "Mounts": [],
    }
    return plain | fields


def container(
    name: str = "web",
    labels: Mapping[str, str] | None = None,
    *,
    config: DockerProviderConfig = LOCAL,
    **fields: Any,
) -> Container:
    """The same, parsed into a container."""
    return from_docker(summary(name, labels, **fields), config)


def built(
    labels: Mapping[str, str] | None = None,
    *,
    name: str = "web",
    config: DockerProviderConfig = LOCAL,
    policy: Policy = NO_POLICY,
    **fields: Any,
) -> Built:
    """The routes and problems of such a container."""
    return build_routes(container(name, labels, config=config, **fields), policy=policy)


def routes(labels: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Route]:
    """Its routes by alias."""
    return {route.alias: route for route in built(labels, **fields).routes}


def route(labels: Mapping[str, str] | None = None, **fields: Any) -> Route:
    """Its only route."""
    (only,) = built(labels, **fields).routes
    return only


def reported(labels: Mapping[str, str] | None = None, **fields: Any) -> list[str]:
    """Its problems as text."""
    return [str(problem) for problem in built(labels, **fields).problems]
