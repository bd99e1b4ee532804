"""Finds Docker contexts and the default engine as the docker CLI does.

Reads ``~/.docker`` (or ``$DOCKER_CONFIG``) and never writes to it. Docker stores each context under the SHA-256 of its
name.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.engine.address import LOCAL_SOCKET, environment_tls, parse_address
from pilotage.engine.config import DockerProviderConfig, TLSFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT",
    "Context",
    "current_context",
    "default_engine",
    "list_contexts",
    "local_sockets",
    "resolve_context",
    "resolved",
    "unverified_warning",
]

DEFAULT: Final = "default"
"""The built-in context: ``DOCKER_HOST``, or the local socket. It has no files."""


class Context(msgspec.Struct, frozen=True):
    """A Docker context.

    Attributes:
        name: name, as in ``docker context ls``.
        url: engine URL.
        tls: certificate files, if any.
        description: free text that describes the context.

    """

    name: str
    url: str
    tls: TLSFiles | None = None
    description: str = ""


class _Endpoint(msgspec.Struct):
    Host: str = ""
    SkipTLSVerify: bool = False


class _Metadata(msgspec.Struct):
    Description: str = ""


class _Meta(msgspec.Struct):
    """The fields of a context's ``meta.json`` that pilotage needs."""

    Name: str = ""
    Metadata: _Metadata | None = None
    Endpoints: dict[str, _Endpoint] = {}


class _CLIConfig(msgspec.Struct):
    """The only field of the docker CLI's ``config.json`` that is decoded. The file also contains passwords."""

    currentContext: str = ""  # noqa: N815  # Docker's name


def _folder(env: Mapping[str, str]) -> Path:
    return Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or "/") / ".docker")


def _problem(message: str, hint: str, *, file: Path | None = None, value: str = "") -> NoReturn:
    raise ConfigError([Problem(message=message, hint=hint, value=value, file=str(file) if file else "")])


def list_contexts(env: Mapping[str, str] | None = None) -> list[Context]:
    """Return all contexts sorted by name, ``default`` first. Unreadable contexts are omitted.

    Args:
        env: environment variables; ``None`` for this process's.

    """
    env = os.environ if env is None else env
    found = [_default(env)]
    for file in sorted((_folder(env) / "contexts" / "meta").glob("*/meta.json")):
        try:
            found.append(_read(file))
        except ConfigError:
            continue
    return [found[0], *sorted(found[1:], key=lambda context: context.name)]


def resolve_context(name: str, env: Mapping[str, str] | None = None) -> DockerProviderConfig:
    """Return the engine of a context, including its certificates. The engine gets the context's name.

    Args:
        name: name of the context.
        env: environment variables; ``None`` for this process's.

    Raises:
        ConfigError: the context does not exist or its files are unreadable.

    """
    env = os.environ if env is None else env
    if name == DEFAULT:
        context = _default(env)
    else:
        file = _folder(env) / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
        if not _may_be(file):
            names = [context.name for context in list_contexts(env)]
            hint = did_you_mean(name, names) or f"available: {', '.join(names)}"
            _problem(f"no Docker context {shorten(name)!r} in {_folder(env)}", hint, value=shorten(name))
        context = _read(file)
    return DockerProviderConfig(context.url, context.tls, context.name)


def resolved(config: DockerProviderConfig, env: Mapping[str, str] | None = None) -> DockerProviderConfig:
    """Resolve ``context://NAME`` to an engine that keeps its configured name, if it has one. Validate the address.

    The engine's address decides how its containers are reached, so contexts are resolved before containers are parsed.

    Raises:
        ConfigError: the context does not exist, or the address is invalid.

    """
    if config.url.startswith("context://"):
        found = resolve_context(config.url.removeprefix("context://"), env)
        config = msgspec.structs.replace(found, name=config.name or found.name, idle=config.idle)
    parse_address(config, env)
    return config


def unverified_warning(config: DockerProviderConfig, env: Mapping[str, str] | None = None) -> Problem | None:
    """Return a warning if the engine's certificate is not verified; otherwise ``None``.

    Args:
        config: the engine, with a resolved context.
        env: environment variables; ``None`` for this process's.

    """
    env = os.environ if env is None else env
    tls = config.tls or (environment_tls(env) if config.url == env.get("DOCKER_HOST") else None)
    if tls is None or tls.verify or config.url.startswith(("unix://", "ssh://")):
        return None
    return Problem(
        message=f"the certificate of {config.url} is not verified, so another machine can pose as this engine",
        hint="create the Docker context without skip-tls-verify=true, or set DOCKER_TLS_VERIFY=1",
        provider=config.name,
        severity="warning",
    )


def _default(env: Mapping[str, str]) -> Context:
    url = env.get("DOCKER_HOST")
    return Context(DEFAULT, url or LOCAL_SOCKET, environment_tls(env) if url else None)


def _read(file: Path) -> Context:
    try:
        meta = msgspec.json.decode(file.read_bytes(), type=_Meta)
    except OSError as error:
        _problem(f"a Docker context cannot be read ({error.strerror})", "check the file's owner and mode", file=file)
    except msgspec.DecodeError as error:
        _problem(f"a Docker context is invalid ({shorten(str(error), 120)})", "create it again", file=file)
    endpoint = meta.Endpoints.get("docker")
    if endpoint is None or not endpoint.Host:
        _problem(f"the Docker context {meta.Name!r} has no Docker engine", "create it again", file=file)
    folder = file.parents[2] / "tls" / file.parent.name / "docker"
    return Context(meta.Name, endpoint.Host, _tls(endpoint, folder), meta.Metadata.Description if meta.Metadata else "")


def _may_be(file: Path) -> bool:
    """Return whether a file may exist. True if its folder is inaccessible; reading the file then reports the reason."""
    try:
        return file.is_file()
    except PermissionError:
        return True


def _tls(endpoint: _Endpoint, folder: Path) -> TLSFiles | None:
    """Return a context's TLS files; ``None`` for no TLS. As in the docker CLI, any of these files enables TLS."""
    ca, cert, key = (str(path) if _may_be(path := folder / f"{name}.pem") else "" for name in ("ca", "cert", "key"))
    if not (ca or cert or key or endpoint.SkipTLSVerify) or endpoint.Host.startswith(("unix://", "ssh://")):
        return None
    return TLSFiles(ca_file=ca, cert_file=cert, key_file=key, verify=not endpoint.SkipTLSVerify)


def current_context(env: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return the active context's name and the variable or file that sets it. As in Docker, ``DOCKER_HOST`` wins.

    Raises:
        ConfigError: the CLI's configuration is unreadable.

    """
    env = os.environ if env is None else env
    if env.get("DOCKER_HOST"):
        return DEFAULT, "DOCKER_HOST"
    if env.get("DOCKER_CONTEXT"):
        return env["DOCKER_CONTEXT"], "DOCKER_CONTEXT"
    file = _folder(env) / "config.json"
    try:
        config = msgspec.json.decode(file.read_bytes(), type=_CLIConfig)
    except (FileNotFoundError, NotADirectoryError):
        return DEFAULT, ""
    except OSError as error:
        _problem(
            f"the Docker CLI's configuration cannot be read ({error.strerror})",
            "check the file's permissions",
            file=file,
        )
    except msgspec.DecodeError as error:
        hint = "repair it, or set DOCKER_HOST"
        _problem(f"the Docker CLI's configuration is invalid ({shorten(str(error), 120)})", hint, file=file)
    return (config.currentContext, str(file)) if config.currentContext else (DEFAULT, "")


def local_sockets(env: Mapping[str, str] | None = None) -> list[str]:
    """Return the default sockets of engines on this machine, most likely first, existing or not."""
    env = os.environ if env is None else env
    runtime, home = env.get("XDG_RUNTIME_DIR", ""), env.get("HOME", "")
    paths = [
        "/var/run/docker.sock",
        f"{runtime}/docker.sock" if runtime else "",
        f"{home}/.docker/run/docker.sock" if home else "",
        f"{runtime}/podman/podman.sock" if runtime else "",
        "/run/podman/podman.sock",
    ]
    return [path for path in paths if path]


def default_engine(env: Mapping[str, str] | None = None) -> tuple[DockerProviderConfig, str]:
    """Return the engine to use if none is configured, and a readable reason for the choice.

    The order is ``DOCKER_HOST``, the active Docker context, Podman's ``CONTAINER_HOST``, then the first existing socket
    of Docker, rootless Docker, Docker Desktop and Podman.

    Args:
        env: environment variables; ``None`` for this process's.

    Raises:
        ConfigError: there is no engine (the message lists the sockets), or the active context is invalid.

    """
    env = os.environ if env is None else env
    name, why = current_context(env)
    if why == "DOCKER_HOST":
        host = env["DOCKER_HOST"]
        return DockerProviderConfig(host, environment_tls(env), "local"), f"DOCKER_HOST is {host}"
    if name != DEFAULT:
        return resolve_context(name, env), f"the Docker context {name!r} is active ({why})"
    if podman := env.get("CONTAINER_HOST"):
        return DockerProviderConfig(podman, None, "podman"), f"CONTAINER_HOST is {podman}"
    paths = local_sockets(env)
    for path in paths:
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116  # Path.is_socket() hides errors
                return DockerProviderConfig(f"unix://{path}", None, "local"), f"{path} exists"
        except PermissionError:
            return DockerProviderConfig(f"unix://{path}", None, "local"), f"{path} may exist"
        except OSError:
            continue
    _problem(
        "no container engine found: DOCKER_HOST and CONTAINER_HOST are not set, no Docker context is active, and none "
        f"of these sockets exist: {', '.join(paths)}",
        "start Docker or Podman (systemctl start docker), or select an engine with --engine NAME=URL",
    )
