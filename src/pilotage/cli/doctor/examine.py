"""Runs all checks of ``pilotage doctor``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.api.snapshot import socket_candidates
from pilotage.certificates import AutocertSettings, check_packages
from pilotage.cli.doctor.files import check_certificates, check_envoy, check_folder, check_log
from pilotage.cli.doctor.finding import Finding
from pilotage.cli.doctor.machine import allowed_files, check_clock, check_name, check_open_files
from pilotage.cli.doctor.ports import check_port
from pilotage.cli.doctor.services import check_daemon, check_engine
from pilotage.cli.patience import ask_all
from pilotage.config import Config, choose_engines, find_config_file, load_config
from pilotage.core.errors import ConfigError
from pilotage.daemon import certificate_folder
from pilotage.lint import check_files
from pilotage.output.console import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pilotage.config import EngineChoice

__all__ = ["examine"]


def examine(choice: EngineChoice, env: Mapping[str, str], *, gateway: bool = True) -> list[Finding]:
    """Check everything that ``pilotage serve`` needs on this machine.

    Args:
        choice: the options that select engines and the configuration file.
        env: the environment.
        gateway: whether pilotage runs an Envoy here.

    """
    file = choice.config or ("" if choice else find_config_file())
    found, config = _configuration(file, env)
    if config is None:
        text = "engines, ports, names, limits, certificates and folders depend on the configuration"
        return [*found, Finding("not checked", "warning", text, "correct the configuration first")]
    found += _engines(choice, env)
    listen = [text.removeprefix("unix://") for text in config.api.listen or () if text.startswith("unix://")]
    daemon = check_daemon([*map(Path, listen), *socket_candidates(env)])
    if gateway:
        found += _gateway(config, daemon.pid)
    found += map(check_name, config.options.match_domains or ("localhost",))
    found += [check_clock(), *_folders(config, env), daemon.finding]
    return found


def _configuration(file: str, env: Mapping[str, str]) -> tuple[list[Finding], Config | None]:
    """Return a finding for each problem in the configuration, and the configuration unless it has errors."""
    if not file:
        return [Finding("configuration", "ok", "no pilotage.yml; the defaults apply")], Config()
    try:
        config = load_config(Path(file), env)
        check_packages(config.autocert)
        problems = check_files([file], env).problems
    except ConfigError as error:
        config, problems = None, tuple(error.problems)
    found = [
        Finding(
            "configuration",
            "problem" if it.severity == "error" else "warning",
            f"{it.place}: {it.message}" if it.place else it.message,
            it.hint,
        )
        for it in problems
    ]
    return found or [Finding("configuration", "ok", f"{file} is valid")], config


def _engines(choice: EngineChoice, env: Mapping[str, str]) -> list[Finding]:
    try:
        chosen = choose_engines(choice, env)
    except ConfigError as error:
        return [Finding("engines", "problem", it.message, it.hint) for it in error.problems]
    checks = [(clean(config.name), check_engine(config)) for config in chosen.configs]
    return [each for findings in asyncio.run(ask_all(checks)) for each in findings]


def _gateway(config: Config, daemon: int) -> Iterator[Finding]:
    options = config.options
    yield check_envoy(config.gateway.envoy)
    ports = [("gateway.http", options.http_address, options.http_port)]
    if options.serves_https:
        ports.append(("gateway.https", options.https_address, options.https_port))
    for name, host, port in ports:
        if port:
            yield check_port(name, host, port, daemon=daemon, keeps_envoy=bool(config.gateway.keep))
    yield check_open_files(config.gateway, allowed_files(daemon))
    yield from check_certificates(options)
    if options.access_log not in {"", "-"}:
        yield check_log(options.access_log)


def _folders(config: Config, env: Mapping[str, str]) -> Iterator[Finding]:
    yield check_folder("state folder", certificate_folder(AutocertSettings(), env).parent)
    if config.autocert.entries:
        yield check_folder("certificates", certificate_folder(config.autocert, env))
