"""What ``pilotage serve`` shall do, as one value made of the command line and the configuration file.

Made at the start, and again whenever the configuration is reread: what differs is what has to change.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.api.listen import Listen, parse_listen, port_error
from pilotage.api.snapshot import socket_candidates
from pilotage.config.engines import ChosenEngines, EngineChoice, choose_engines, find_config_file
from pilotage.config.load import Config, load_config
from pilotage.config.serve import API_PORT, GatewaySettings
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.address import DockerProviderConfig, bracketed
from pilotage.routes.build import RESERVED_PORTS
from pilotage.xds.options import GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "XDS_PORT",
    "DaemonSettings",
    "Flags",
    "build_settings",
    "changed_settings",
    "check_ports",
    "rebuild_settings",
]

XDS_PORT: Final = 18000
"""Where Envoys elsewhere ask on loopback when nothing else is said and there is none of our own."""


class Flags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says.

    Attributes:
        choice: engines and configuration file.
        demo: the demonstration's engine, which is served alone; ``None`` without.
        gateway: run an Envoy of our own.
        port: of plain HTTP, instead of the configuration's; ``None`` to leave it.
        api: where the API listens, instead of the configuration's.

    """

    choice: EngineChoice = EngineChoice()
    demo: DockerProviderConfig | None = None
    gateway: bool = True
    port: int | None = None
    api: tuple[str, ...] = ()


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        engines: what to watch.
        files: names and patterns of files of routes.
        why: how the engines were found, for people; ``""`` when they were named.
        file: the configuration file, ``""`` without one.
        options: what Envoys are told beside the routes.
        gateway: how our Envoy is run, and where others get their configuration.
        with_gateway: run an Envoy of our own.
        listen: where the API listens.
        listen_if_free: these are the usual places, and one that is taken is left alone.
        token: what callers of the API from elsewhere must present.
        problems: warnings about the configuration.

    """

    engines: tuple[DockerProviderConfig, ...]
    files: tuple[str, ...] = ()
    why: str = ""
    file: str = ""
    options: GatewayOptions = GatewayOptions()
    gateway: GatewaySettings = GatewaySettings()
    with_gateway: bool = True
    listen: tuple[Listen, ...] = ()
    listen_if_free: bool = False
    token: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def reserved_ports(self) -> frozenset[int]:
        """The ports of this host that are the proxy's: a container that publishes them is no route to itself."""
        return RESERVED_PORTS | {port for port in (self.options.http_port, self.options.https_port) if port}

    @property
    def xds_address(self) -> str:
        """Where Envoys elsewhere ask, ``host:port``; ``""`` for nowhere, which takes one of our own."""
        xds = self.gateway.xds
        port = xds.port or (0 if self.with_gateway else XDS_PORT)
        return f"{bracketed(xds.host)}:{port}" if port else ""


def build_settings(flags: Flags, env: Mapping[str, str]) -> DaemonSettings:
    """Decide what to do.

    Raises:
        ConfigError: with every fault of the configuration and of what was named.

    """
    file = flags.choice.config or ("" if flags.choice or flags.demo else find_config_file())
    config = load_config(Path(file), env) if file else Config()
    chosen = _engines(flags, env)
    options = config.options
    if flags.port is not None:
        options = msgspec.structs.replace(options, http_port=flags.port)
    if flags.gateway:
        _check_log(options.access_log, file)
    texts = flags.api or config.api.listen
    listen = tuple(map(parse_listen, texts)) if texts is not None else _usual_places(env)
    return DaemonSettings(
        engines=chosen.configs,
        files=chosen.files,
        why=chosen.why,
        file=file,
        options=options,
        gateway=config.gateway,
        with_gateway=flags.gateway,
        listen=listen,
        listen_if_free=texts is None,
        token=_token(config.api.token_file),
        problems=config.problems,
    )


def rebuild_settings(flags: Flags, env: Mapping[str, str], first: DaemonSettings) -> DaemonSettings:
    """Decide anew, by the configuration file that was found first: where it is gone now, nobody wishes for another.

    Raises:
        ConfigError: as for :func:`build_settings`, and if that file is gone.

    """
    if first.file:
        flags = msgspec.structs.replace(flags, choice=msgspec.structs.replace(flags.choice, config=first.file))
    return build_settings(flags, env)


def _engines(flags: Flags, env: Mapping[str, str]) -> ChosenEngines:
    if flags.demo is not None:
        return ChosenEngines((flags.demo,), "the built-in demonstration")
    return choose_engines(flags.choice, env)


def _usual_places(env: Mapping[str, str]) -> tuple[Listen, ...]:
    """Return the first usual socket that this user can make, and loopback."""
    loopback = Listen(host="127.0.0.1", port=API_PORT)
    for path in socket_candidates(env):
        folder = path.parent if os.access(path.parent, os.F_OK) else path.parent.parent
        if os.access(folder, os.W_OK):
            return (Listen(path=str(path)), loopback)
    return (loopback,)


def _token(file: str) -> str:
    if not file:
        return ""
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(message="cannot be read as text", hint=str(error), file=file)]) from error
    if len(token) < 16:
        hint = "write a long random text into it: openssl rand -hex 32"
        raise ConfigError([Problem(message="the token is shorter than 16 characters", hint=hint, file=file)])
    return token


def _check_log(path: str, file: str) -> None:
    """Make sure that Envoy, which runs as the same user, can write its access log: it would take no requests else."""
    if path in {"", "-"}:
        return
    try:
        # As Envoy opens it, but without waiting for somebody to read from a pipe.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o644))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        hint = "name a file in a folder that pilotage may write to, or - for its log"
        message = f"{shorten(path, 200)} cannot be written: {why}"
        raise ConfigError([Problem(message=message, hint=hint, path="gateway.access_log", file=file)]) from error


_AT_START: Final = ("envoy", "workers", "log_level", "xds")
"""Of the gateway's settings those that count only when the daemon starts."""


def changed_settings(old: DaemonSettings, new: DaemonSettings) -> list[str]:
    """Return which settings differ between two plans but take effect only at the next start, by name."""
    found = [f"gateway.{name}" for name in _AT_START if getattr(old.gateway, name) != getattr(new.gateway, name)]
    if old.listen != new.listen:
        found.append("api.listen")
    if old.token != new.token:
        found.append("api.token_file")
    return found


def check_ports(settings: DaemonSettings, *, held: DaemonSettings | None = None) -> None:
    """Make sure that nobody else listens where the gateway is to.

    Args:
        settings: what is to be done.
        held: what is being done; the ports of that are our own.

    Raises:
        ConfigError: somebody does, or this user may not.

    """
    options = settings.options
    ours = {held.options.http_port, held.options.https_port} if held is not None else set()
    places = [("http", options.http_address, options.http_port)]
    if options.serves_https:
        places.append(("https", options.https_address, options.https_port))
    faults = []
    for key, host, port in places:
        why = port_error(host, port) if port and port not in ours else ""
        if why:
            hint = f"choose another port with --port or gateway.{key}" if key == "http" else f"change gateway.{key}"
            if port < 1024 and os.geteuid():
                hint += "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
            faults.append(Problem(message=f"the gateway cannot listen on {host}:{port}: {why}", hint=hint))
    if faults:
        raise ConfigError(faults)
