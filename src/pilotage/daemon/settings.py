"""Builds the daemon's settings from the command line and the configuration file.

This happens at startup and on each reload. The daemon compares the old and new settings and applies the differences.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.api.listen import Listen, parse_listen, port_error
from pilotage.api.snapshot import socket_candidates
from pilotage.certificates.packages import check_packages
from pilotage.certificates.settings import AutocertSettings
from pilotage.config.dashboard import DashboardSettings
from pilotage.config.engines import ChosenEngines, EngineChoice, choose_engines, find_config_file
from pilotage.config.load import Config, load_config
from pilotage.config.oidc_env import oidc_of_env, policy_of_env
from pilotage.config.serve import API_PORT, GatewaySettings
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.demo import DEMO_POLICY
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.contexts import resolved
from pilotage.gateway.capacity import descriptor_limit, memory_limit
from pilotage.policy import NO_POLICY, Policy, unknown_engines
from pilotage.xds.options import GatewayOptions
from pilotage.xds.overload import Limits, limits_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "DaemonSettings",
    "EnvoySettings",
    "Flags",
    "build_settings",
    "changed_settings",
    "check_ports",
    "envoy_limits",
    "envoy_settings",
    "rebuild_settings",
]

_XDS_SOCKET: Final = "pilotage-xds/ads.sock"
"""Default xDS socket for other Envoys if the daemon runs none of its own, next to the API's socket."""


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """The command-line options.

    Attributes:
        choice: which engines to watch and which configuration file to read.
        demo: the engine of the built-in demonstration, which replaces all others; ``None`` outside the demonstration.
        gateway: whether to run an Envoy.
        port: the HTTP port, overriding the configuration; ``None`` if not given.
        api: addresses of the API, overriding the configuration.
        keep: whether Envoy outlives the daemon, overriding the configuration; ``None`` if not given.

    """

    choice: EngineChoice = EngineChoice()
    demo: DockerProviderConfig | None = None
    gateway: bool = True
    port: int | None = None
    api: tuple[str, ...] = ()
    keep: bool | Literal["external"] | None = None


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the daemon needs to know to run.

    Attributes:
        engines: the engines to watch.
        files: names and patterns of route files.
        middleware_files: names and patterns of files of middlewares.
        why: why these engines were chosen, as human-readable text; ``""`` if the user named them.
        file: the configuration file; ``""`` if there is none.
        options: what Envoys get in addition to the routes.
        autocert: the certificates to obtain.
        gateway: how to run Envoy, and where other Envoys get their configuration.
        with_gateway: whether to run an Envoy.
        limits: the resources that the daemon's own Envoy may use.
        keep_folder: absolute path of the folder for an Envoy that outlives the daemon; ``""`` if Envoy ends with it.
        xds_socket: the socket for other Envoys if there is no other xDS address and the daemon runs no Envoy.
        listen: addresses of the API.
        listen_if_free: whether to skip addresses that are in use; true if ``listen`` has the default addresses.
        token: the bearer token for API clients on other machines.
        dashboard: how the gateway serves the dashboard.
        policy: what containers may claim.
        problems: warnings about the configuration.
        held_ports: ports on which the daemon still listens although a reload has changed them in the settings.

    """

    engines: tuple[DockerProviderConfig, ...]
    files: tuple[str, ...] = ()
    middleware_files: tuple[str, ...] = ()
    why: str = ""
    file: str = ""
    options: GatewayOptions = GatewayOptions()
    autocert: AutocertSettings = AutocertSettings()
    gateway: GatewaySettings = GatewaySettings()
    with_gateway: bool = True
    limits: Limits = Limits()
    keep_folder: str = ""
    xds_socket: str = ""
    listen: tuple[Listen, ...] = ()
    listen_if_free: bool = False
    token: str = ""
    dashboard: DashboardSettings = DashboardSettings()
    policy: Policy = NO_POLICY
    problems: tuple[Problem, ...] = ()
    held_ports: frozenset[int] = frozenset()

    @property
    def start_ports(self) -> frozenset[int]:
        """Ports of the API and the xDS server. Changes take effect only at the next start."""
        ports = (self.gateway.xds.port, *(place.port for place in self.listen))
        return frozenset(port for port in ports if port)

    @property
    def reserved_ports(self) -> frozenset[int]:
        """Ports on this host on which the gateway, the API and the xDS server listen. No route may point to them."""
        return self.options.ports | self.start_ports | self.held_ports

    @property
    def xds_address(self) -> str:
        """Where other Envoys get their configuration, ``unix:/path`` or ``host:port``; ``""`` if nowhere."""
        default = f"unix:{self.xds_socket}" if self.xds_socket and not self.with_gateway else ""
        return self.gateway.xds.address or default


def build_settings(flags: Flags, env: Mapping[str, str]) -> DaemonSettings:
    """Build the settings from the options, the environment and the configuration file.

    Raises:
        ConfigError: with all errors in the configuration and the options.

    """
    file = flags.choice.config or ("" if flags.choice or flags.demo else find_config_file())
    config = load_config(Path(file), env) if file else Config()
    chosen = _engines(flags, env)
    engines = [resolved(engine, env) for engine in chosen.configs]  # a missing context is an error here, too
    if not file:
        options = msgspec.structs.replace(config.options, oidc=oidc_of_env(env))
        config = msgspec.structs.replace(config, options=options, policy=policy_of_env(config.policy, env))
    check_packages(config.autocert)
    options = config.options
    if flags.port is not None:
        options = msgspec.structs.replace(options, http_port=flags.port)
    has_agents = any(engine.agent for engine in engines)
    options = msgspec.structs.replace(options, report_errors=not flags.gateway, has_agents=has_agents)
    if flags.gateway:
        _check_log(options.access_log, file)
    limits = envoy_limits(config.gateway) if flags.gateway else Limits()
    per_client = config.gateway.max_client_connections
    per_client = limits.per_client if per_client is None else per_client
    options = msgspec.structs.replace(options, max_client_connections=per_client)
    if flags.gateway:
        options = msgspec.structs.replace(
            options,
            max_target_connections=min(options.max_target_connections, limits.per_target),
            max_udp_clients=min(options.max_udp_clients, limits.per_udp_route),
        )
    demo_policy = msgspec.structs.replace(DEMO_POLICY, gateway=config.policy.gateway)
    policy = config.policy if flags.demo is None else demo_policy
    texts = flags.api or config.api.listen
    listen = tuple(map(parse_listen, texts)) if texts is not None else _default_addresses(env)
    gateway = config.gateway
    if flags.keep is not None:
        gateway = msgspec.structs.replace(gateway, keep=flags.keep)
    if flags.demo is not None:
        gateway = msgspec.structs.replace(gateway, keep=False)
    settings = DaemonSettings(
        engines=chosen.configs,
        files=chosen.files,
        why=chosen.why,
        file=file,
        options=options,
        autocert=config.autocert,
        gateway=gateway,
        with_gateway=flags.gateway,
        limits=limits,
        keep_folder=_keep_folder(listen, env, file) if flags.gateway and gateway.keep else "",
        xds_socket=_xds_socket(env),
        listen=listen,
        listen_if_free=texts is None,
        token=_token(config.api.token_file),
        dashboard=config.api.dashboard,
        policy=policy,
        middleware_files=config.middleware_files,
    )
    problems = (
        *config.problems,
        *unknown_engines(policy, (engine.name for engine in chosen.configs)),
        *_without_gateway(settings, config.local_settings),
    )
    return msgspec.structs.replace(settings, problems=problems)


def _without_gateway(settings: DaemonSettings, local: Sequence[str]) -> Iterator[Problem]:
    """Yield warnings about settings that have no effect if the daemon runs no Envoy.

    Args:
        settings: the settings.
        local: names of the settings in the configuration file that concern only the daemon's own Envoy.

    """
    if settings.with_gateway:
        return
    if local:
        verb = "has" if len(local) == 1 else "have"
        message = f"{', '.join(local)} {verb} no effect with --no-gateway, because pilotage runs no Envoy"
        hint = (
            "remove it, or set it where Envoy runs" if len(local) == 1 else "remove them, or set them where Envoy runs"
        )
        yield Problem(message=message, hint=hint, severity="warning", file=settings.file)
    if not settings.xds_address:
        message = "no Envoy can fetch its configuration: this user cannot create a socket for it"
        yield Problem(message=message, hint="set gateway.xds.listen", severity="warning", file=settings.file)


class EnvoySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings for running an Envoy separately from the daemon.

    Attributes:
        gateway: how to run Envoy.
        limits: the resources that Envoy may use.
        folder: absolute path of the folder that Envoy shares with the daemon.

    """

    gateway: GatewaySettings
    limits: Limits
    folder: str


def envoy_settings(config_file: str, api: tuple[str, ...], env: Mapping[str, str]) -> EnvoySettings:
    """Return how to run the Envoy of a daemon that has the same configuration file, environment and ``--api``.

    Raises:
        ConfigError: with all errors in the configuration and the options.

    """
    file = config_file or find_config_file()
    config = load_config(Path(file), env) if file else Config()
    texts = api or config.api.listen
    listen = tuple(map(parse_listen, texts)) if texts is not None else _default_addresses(env)
    gateway = msgspec.structs.replace(config.gateway, keep=config.gateway.keep or True)
    return EnvoySettings(gateway=gateway, limits=envoy_limits(gateway), folder=_keep_folder(listen, env, file))


def envoy_limits(gateway: GatewaySettings) -> Limits:
    """Return the resources that Envoy may use on this machine."""
    return limits_for(
        descriptor_limit(),
        memory_limit(),
        workers=gateway.workers or os.cpu_count() or 1,
        connections=gateway.max_connections,
        per_client=gateway.max_client_connections,
    )


def _keep_folder(listen: tuple[Listen, ...], env: Mapping[str, str], file: str) -> str:
    """Return the folder of an Envoy that outlives the daemon.

    It is next to the API's socket, so no other daemon uses it.
    """
    sockets = [Path(place.path) for place in listen if place.path]
    socket = sockets[0] if sockets else _own_socket(env)
    if socket is None:
        message = "there is no folder for an Envoy that outlives pilotage"
        hint = "add a unix socket to api.listen; Envoy's folder is next to it"
        raise ConfigError([Problem(message=message, hint=hint, path="gateway.keep", file=file)])
    return str(socket.absolute().parent / f"{socket.stem}-envoy")


def rebuild_settings(flags: Flags, env: Mapping[str, str], first: DaemonSettings) -> DaemonSettings:
    """Build the settings again for a reload. If the first settings came from a file, read only that file.

    Raises:
        ConfigError: as in :func:`build_settings`, and if that file no longer exists.

    """
    if first.file:
        flags = msgspec.structs.replace(flags, choice=msgspec.structs.replace(flags.choice, config=first.file))
    return build_settings(flags, env)


def _engines(flags: Flags, env: Mapping[str, str]) -> ChosenEngines:
    if flags.demo is not None:
        return ChosenEngines((flags.demo,), "the built-in demonstration")
    return choose_engines(flags.choice, env)


def _default_addresses(env: Mapping[str, str]) -> tuple[Listen, ...]:
    """Return the API's default addresses: the first usable default socket, if any, and a loopback port."""
    loopback = Listen(host="127.0.0.1", port=API_PORT)
    path = _own_socket(env)
    return (loopback,) if path is None else (Listen(path=str(path)), loopback)


def _own_socket(env: Mapping[str, str]) -> Path | None:
    """Return the first default socket of the API that this user can create; ``None`` if the user can create none."""
    for path in socket_candidates(env):
        folder = path.parent if os.access(path.parent, os.F_OK) else path.parent.parent
        if os.access(folder, os.W_OK):
            return path
    return None


def _xds_socket(env: Mapping[str, str]) -> str:
    path = _own_socket(env)
    return "" if path is None else str(path.parent / _XDS_SOCKET)


def _token(file: str) -> str:
    if not file:
        return ""
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(message="cannot be read as text", hint=str(error), file=file)]) from error
    if len(token) < 16:
        hint = "create one with: openssl rand -hex 32"
        raise ConfigError([Problem(message="the token is shorter than 16 characters", hint=hint, file=file)])
    return token


def _check_log(path: str, file: str) -> None:
    """Raise ConfigError if this user cannot write the access log, because Envoy would then reject its listeners."""
    if path in {"", "-"}:
        return
    try:
        # Open it as Envoy does, but do not wait for the reader of a pipe.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        hint = "choose a file in a folder that pilotage can write to, or use - for standard output"
        message = f"cannot write {shorten(path, 200)}: {why}"
        raise ConfigError([Problem(message=message, hint=hint, path="gateway.access_log", file=file)]) from error


_AT_START: Final = ("envoy", "workers", "max_connections", "keep", "log_level", "xds")
"""Fields of the gateway settings that take effect only when the daemon starts."""


def changed_settings(old: DaemonSettings, new: DaemonSettings) -> list[str]:
    """Return the names of the changed settings that take effect only at the next start."""
    found = [f"gateway.{name}" for name in _AT_START if getattr(old.gateway, name) != getattr(new.gateway, name)]
    if old.listen != new.listen:
        found.append("api.listen")
    if old.token != new.token:
        found.append("api.token_file")
    return found


def check_ports(
    settings: DaemonSettings, *, held: DaemonSettings | None = None, ours: frozenset[int] = frozenset()
) -> None:
    """Check that the ports of the gateway are free.

    Args:
        settings: the new settings.
        held: the active settings. Their ports count as free, because the daemon itself uses them.
        ours: other ports that count as free, because the daemon's Envoy uses them.

    Raises:
        ConfigError: a port is in use, or this user cannot listen on it.

    """
    options = settings.options
    ours |= {held.options.http_port, held.options.https_port} if held is not None else set()
    places = [("http", options.http_address, options.http_port)]
    if options.serves_https:
        places.append(("https", options.https_address, options.https_port))
    problems = []
    for key, host, port in places:
        why = port_error(host, port) if port and port not in ours else ""
        if why:
            hint = f"choose another port with --port or gateway.{key}" if key == "http" else f"change gateway.{key}"
            if port < 1024 and os.geteuid():
                hint += "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
            problems.append(Problem(message=f"the gateway cannot listen on {host}:{port}: {why}", hint=hint))
    if problems:
        raise ConfigError(problems)
