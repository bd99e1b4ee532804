"""Reads ``pilotage.yml`` and reports all errors in it together, each with its position and a remedy.

The rules are those in LABELS II.7.1, with the corrections in part I; ``docs/reference/configuration.md`` documents
them. Import this module only where a configuration is read, because it imports pydantic, which is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ValidationError

from pilotage.certificates.settings import AutocertSettings
from pilotage.config.agents import read_agents
from pilotage.config.autocert_section import Autocert, AutocertSection
from pilotage.config.captcha import CaptchaSection, captcha_service
from pilotage.config.client_profiles import ProfileSection, client_profiles, common_profile
from pilotage.config.cloudflare import CloudflareSection, cloudflare_lists
from pilotage.config.dashboard_section import DashboardSections
from pilotage.config.engine_section import EngineEntry, TLSEntry
from pilotage.config.error_pages import error_pages_folder
from pilotage.config.errors import message_and_hint
from pilotage.config.godoxy import GODOXY_KEYS, PROTECTIVE_KEYS, may_restrict, take_entry_profile
from pilotage.config.host_names import is_host
from pilotage.config.middlewares import read_middlewares
from pilotage.config.oidc import OidcSection, oidc_defaults
from pilotage.config.policy import PolicySection
from pilotage.config.serve import ApiSettings, GatewaySettings, Section
from pilotage.config.substitute import dotted, is_below, read_document
from pilotage.config.unused import local_settings, unused_settings
from pilotage.config.validation import list_of_one
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.core.yaml import kind_name
from pilotage.engine.address import LOCAL_SOCKET, bracketed, parse_address
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.policy import Policy
from pilotage.xds.capabilities import GatewayCapabilities
from pilotage.xds.options import GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pilotage.config.substitute import Document
    from pilotage.config.substitute import Path as DocumentPath
    from pilotage.routes import Compositions

__all__ = ["Config", "load_config", "read_config"]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A valid configuration.

    Attributes:
        providers: the engines, in the order of the file.
        files: names and patterns of route files.
        middleware_files: names and patterns of files of middlewares.
        has_providers: whether the file has a section ``providers``, even an empty one.
        options: settings that all Envoys get besides the routes, including ``match_domains`` and ``debug``.
        autocert: the certificates to obtain.
        gateway: settings for running Envoy.
        api: settings of the daemon's HTTP API.
        policy: what containers may claim.
        problems: warnings about settings that have no effect.
        agent_problems: errors with agents and their certificates; each affects only the engine behind that agent.
        local_settings: names of settings in the file that have no effect if pilotage runs no Envoy.

    """

    providers: tuple[DockerProviderConfig, ...] = ()
    files: tuple[str, ...] = ()
    middleware_files: tuple[str, ...] = ()
    has_providers: bool = False
    options: GatewayOptions = GatewayOptions()
    autocert: AutocertSettings = AutocertSettings()
    gateway: GatewaySettings = GatewaySettings()
    api: ApiSettings = ApiSettings()
    policy: Policy = Policy(addresses=(GatewayOptions().http_address,), gateway=GatewayCapabilities())
    problems: tuple[Problem, ...] = ()
    agent_problems: tuple[Problem, ...] = ()
    local_settings: tuple[str, ...] = ()

    @property
    def reserved_ports(self) -> frozenset[int]:
        """Ports on this host that belong to ``pilotage serve`` with this configuration. No route may point to them."""
        return self.options.ports | self.api.ports | ({self.gateway.xds.port} - {0})


# ---- the shape of the file ------------------------------------------------------------------------------------------


class _Providers(Section):
    # Engines are validated one by one, so that an error in one does not hide errors in others.
    docker: dict[str, Any] | None = None
    agents: Any = None  # also validated one by one
    files: Annotated[list[str] | None, BeforeValidator(list_of_one)] = None
    middlewares: Annotated[list[str] | None, BeforeValidator(list_of_one)] = None


class _File(DashboardSections):
    autocert: AutocertSection | None = None
    providers: _Providers | None = None
    policy: PolicySection | None = None
    oidc: OidcSection | None = None
    captcha: CaptchaSection | None = None
    cloudflare: CloudflareSection | None = None
    error_pages: str = ""
    inbound_mtls_profiles: dict[str, ProfileSection] | None = None


# ---- reading --------------------------------------------------------------------------------------------------------


def load_config(path: Path, env: Mapping[str, str]) -> Config:
    """Read a configuration file.

    Args:
        path: the file. Relative file names in it are relative to its folder.
        env: values of ``${NAME}`` variables; usually ``os.environ``.

    Raises:
        ConfigError: the file cannot be read or has errors. The exception contains all errors, sorted by position.

    """
    try:
        text = read_text(path)
    except UnreadableFile as error:
        hint = error.hint or "correct the name after --config, or select an engine with --engine NAME=URL"
        raise ConfigError([Problem(message=error.message, file=str(path), hint=hint)]) from error
    return read_config(text, file=str(path), folder=path.parent, env=env)


def read_config(text: str, *, file: str, folder: Path, env: Mapping[str, str]) -> Config:
    """Parse the text of a configuration file.

    Args:
        text: YAML 1.2.
        file: the file's name, for messages.
        folder: folder for relative file names.
        env: values of ``${NAME}`` variables.

    Raises:
        ConfigError: the text has errors or names a missing file. The exception has all errors, sorted by position.

    """
    return _Reader(read_document(text, file, env), folder, env).config()


class _Reader:
    """Builds a configuration from one document and collects its problems."""

    def __init__(self, document: Document, folder: Path, env: Mapping[str, str]) -> None:
        self.document = document
        self.folder = folder
        self.env = env
        self.problems: list[Problem] = list(document.problems)
        self.agent_problems: list[Problem] = []

    def config(self) -> Config:
        tree, key, profile = take_entry_profile(self.document.tree)
        tree = self.without_godoxy_keys(tree, ())
        providers: list[DockerProviderConfig] = []
        for name, value in self.engines(tree):
            place: DocumentPath = ("providers", "docker", name)
            before = len(self.problems)
            engine = self.engine(name, value, place)
            if engine is not None and len(self.problems) == before and self.has_address(engine, place):
                providers.append(engine)
                if engine.agent and engine.tls is None:
                    message = f'agent "{engine.url}" not found'
                    self.add_agent_problem(self.place_of_url(place), message, "list it under providers.agents")
        for engine in read_agents(self.provider_section(tree).get("agents"), self):
            if engine.name in (known.name for known in providers):
                self.add_problem(("providers", "agents"), f"two engines are called {engine.name!r}", "rename one")
            providers.append(engine)
        sections = self.sections(tree)
        files, middleware_files = (tuple(self.file_names(sections, key)) for key in ("files", "middlewares"))
        autocert, places = self.autocert(sections), (self.file, self.add_problem, self.path)
        gateway, api = sections.gateway_settings(*places[:2]), sections.api_settings(*places[:2])
        options = sections.gateway_options(*places, autocert.files, automatic=bool(autocert.settings.entries))
        options = msgspec.structs.replace(
            options,
            oidc=oidc_defaults(sections.oidc, self.env, self.add_problem, self.file),
            error_pages=error_pages_folder(sections.error_pages, self.path, self.add_warning),
            captcha=captcha_service(sections.captcha, self.add_problem),
            cloudflare_lists=cloudflare_lists(sections.cloudflare, self.add_problem),
            client_profiles=client_profiles(sections.inbound_mtls_profiles, self.path, self.add_warning),
        )
        profile = common_profile(key, profile, options, self.add_problem)
        options = msgspec.structs.replace(options, client_profile=profile)
        compositions, warnings = read_middlewares(middleware_files)
        self.problems += warnings
        policy = self.policy(sections, options, compositions)
        for place, message, hint in unused_settings(sections, options):
            self.add_warning(place, message, hint)
        self.problems.sort(key=lambda problem: (problem.line, problem.column))
        if any(problem.severity == "error" for problem in self.problems):
            raise ConfigError(self.problems)
        return Config(
            providers=tuple(providers),
            files=files,
            middleware_files=middleware_files,
            has_providers="providers" in tree,
            options=options,
            autocert=autocert.settings,
            gateway=gateway,
            api=api,
            policy=policy,
            problems=tuple(self.problems),
            agent_problems=tuple(self.agent_problems),
            local_settings=local_settings(sections),
        )

    def add_problem(self, path: DocumentPath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        if path not in self.document.unfilled:
            self.problems.append(self.document.problem(path, message, hint=hint, at_key=at_key))

    def add_agent_problem(self, path: DocumentPath, message: str, hint: str) -> None:
        self.agent_problems.append(self.document.problem(path, message, hint=hint))

    def add_warning(self, path: DocumentPath, message: str, hint: str) -> None:
        warning = self.document.problem(path, message, hint=hint, at_key=True)
        self.problems.append(msgspec.structs.replace(warning, severity="warning"))

    def without_godoxy_keys(self, tree: Any, path: DocumentPath) -> Any:
        """Return the tree at ``path`` without keys that only GoDoxy supports; add a problem for each such key."""
        if path not in GODOXY_KEYS or not isinstance(tree, dict):
            return tree
        kept = {}
        for key, value in tree.items():
            place = (*path, key)
            if not path and key in PROTECTIVE_KEYS and may_restrict(key, value):
                hint = "remove it after restricting access in another way"
                self.add_problem(place, f"{key!r} is a GoDoxy field that pilotage does not support", hint, at_key=True)
            elif key in GODOXY_KEYS[path] or (not path and key in PROTECTIVE_KEYS):
                self.problems = [problem for problem in self.problems if not is_below(problem.path, dotted(place))]
                message = f"{key!r} is a GoDoxy field that pilotage does not support, and has no effect"
                hint = "list the files under providers.files" if key == "include" else "remove it"
                self.add_warning(place, message, hint)
            else:
                kept[key] = self.without_godoxy_keys(value, place)
        return kept

    def sections(self, tree: Any) -> _File:
        """Return the validated sections other than the engines. If one is invalid, add problems and use defaults."""
        if self.has_rules_only:
            tree = {**tree, "policy": {"rules": tree["policy"]}}
        try:
            return _File.model_validate(tree)
        except ValidationError as error:
            self.add(error, _File, ())
        return _File()

    @property
    def has_rules_only(self) -> bool:
        """Whether ``policy`` is a list, which is a short form of a mapping with ``rules``."""
        tree = self.document.tree
        return isinstance(tree, dict) and isinstance(tree.get("policy"), list)

    def autocert(self, sections: _File) -> Autocert:
        section, domains = sections.autocert, tuple(sections.match_domains)
        if section is None and not sections.uses_own_ca:
            return Autocert()
        from pilotage.config.autocert import read_autocert  # noqa: PLC0415  # most files have no such section

        return read_autocert(section, domains, self.path, self.add_problem, own_ca=sections.uses_own_ca)

    def policy(self, sections: _File, options: GatewayOptions, compositions: Compositions) -> Policy:
        """Return the policy, which says what containers may claim."""
        section = sections.policy or PolicySection()
        above: DocumentPath = ("policy",) if self.has_rules_only else ("policy", "rules")

        def place(index: int) -> str:
            return f"{self.document.file}:{self.document.problem((*above, index), '').line}"

        policy = sections.built_in_policy(options, self.path)
        rules, gateway = section.read_rules(place, self.path), GatewayCapabilities.of_options(options, compositions)
        return msgspec.structs.replace(policy, rules=rules, default=section.default, gateway=gateway)

    def file_names(self, sections: _File, key: Literal["files", "middlewares"]) -> Iterator[str]:
        """Yield the paths of files. A missing file is not an error, because it can be created later."""
        for number, name in enumerate(getattr(sections.providers, key, None) or ()):
            if name.strip():
                yield str(self.path(name))
            else:
                hint = "write a name such as routes.yml, or a pattern such as routes.d/*.yml"
                self.add_problem(("providers", key, number), "the file name is empty", hint)

    def engines(self, tree: Any) -> Iterator[tuple[str, Any]]:
        """Yield the name and the unvalidated value of each engine."""
        engines = self.provider_section(tree).get("docker")
        if isinstance(engines, dict):
            yield from engines.items()

    def provider_section(self, tree: Any) -> dict[str, Any]:
        section = tree.get("providers") if isinstance(tree, dict) else None
        return section if isinstance(section, dict) else {}

    def engine(self, name: str, value: Any, place: DocumentPath) -> DockerProviderConfig | None:
        """Return the engine. If its name or value is malformed, add a problem and return ``None``."""
        if not name.removesuffix("!").strip() or not name.isprintable():
            hint = "write a name before the colon, such as `local`; a ! at its end requires labels"
            self.add_problem(place, f"{name!r} is not a valid engine name", hint, at_key=True)
            return None
        if value is None or isinstance(value, str):
            return DockerProviderConfig(value or "", name=name)
        if not isinstance(value, dict):
            hint = f"write a URL such as {LOCAL_SOCKET}, or a mapping with url and tls"
            self.add_problem(place, f"an engine cannot be {kind_name(value)}", hint)
            return None
        try:
            entry = EngineEntry.model_validate(value)
        except ValidationError as error:
            self.add(error, EngineEntry, place)
            return None
        url = self.url(entry, place)
        tls = self.tls(entry.tls, (*place, "tls")) if entry.tls is not None else None
        return DockerProviderConfig(url, tls, name, entry.idle) if url is not None else None

    def url(self, entry: EngineEntry, place: DocumentPath) -> str | None:
        parts = {"scheme": entry.scheme, "host": entry.host, "port": entry.port}
        given = [key for key, value in parts.items() if value is not None]
        if entry.url is not None:
            for key in given:
                self.add_problem((*place, key), f"{key} and url cannot be combined", f"remove {key}", at_key=True)
            return None if given else entry.url
        if entry.scheme == "unix":
            hint = f"write the socket as a URL: {place[-1]}: {LOCAL_SOCKET}"
            self.add_problem((*place, "scheme"), "a Unix socket has no host and port", hint)
            return None
        for key in ("scheme", "host"):
            if not parts[key]:
                hint = f"add `{key}`, or write the engine as a URL such as tcp://{entry.host or '10.0.0.2'}:2375"
                self.add_problem((*place, key), f"{key} is missing", hint)
        if not entry.scheme or not entry.host:
            return None
        if not is_host(entry.host):
            hint = "write only a host name or an IP address; scheme and port have their own keys"
            self.add_problem((*place, "host"), f"{shorten(entry.host)!r} is not a host", hint)
            return None
        port = f":{entry.port}" if entry.port else ""
        return f"{entry.scheme}://{bracketed(entry.host.strip('[]'))}{port}"

    def tls(self, entry: TLSEntry, place: DocumentPath) -> TLSFiles:
        files = TLSFiles(
            ca_file=self.file(entry.ca_file, (*place, "ca_file")),
            cert_file=self.file(entry.cert_file, (*place, "cert_file")),
            key_file=self.file(entry.key_file, (*place, "key_file")),
        )
        if files == TLSFiles():
            hint = "add ca_file (and cert_file with key_file), or remove `tls:` to trust the system's CAs with https://"
            self.add_problem(place, "tls contains no file", hint, at_key=True)
        return files

    def path(self, name: str) -> Path:
        return self.folder / (name.replace("~", self.env.get("HOME", "~"), 1) if name.startswith("~/") else name)

    def file(self, name: str, place: DocumentPath) -> str:
        if not name:
            return ""
        path = self.path(name)
        shown = shorten(str(path), 200)
        try:
            if not path.is_file():
                hint = "check the name, and whether the file is mounted in this container"
                self.add_problem(place, f"{shown} does not exist", hint)
        except OSError as error:
            self.add_problem(place, f"cannot read {shown}: {error.strerror}", "give this user access to its folder")
        return str(path)

    def has_address(self, engine: DockerProviderConfig, place: DocumentPath) -> bool:
        """Return whether the engine's address is valid; otherwise, add problems with their positions in the file."""
        if any(path[: len(place)] == place for path in self.document.unfilled):
            return False  # already reported; further errors would only be consequences of this one
        try:
            parse_address(engine, self.env)
        except ConfigError as error:
            for problem in error.problems:
                path = (*place, *problem.path.split(".")) if problem.path else self.place_of_url(place)
                shown = self.document.problem(path, problem.message, hint=problem.hint, value=problem.value)
                self.problems.append(shown)
            return False
        return True

    def place_of_url(self, place: DocumentPath) -> DocumentPath:
        value = self.document.tree["providers"]["docker"][place[-1]]
        return (*place, "url") if isinstance(value, dict) and "url" in value else place

    def add(self, error: ValidationError, model: type[BaseModel], base: DocumentPath) -> None:
        for details in error.errors(include_url=False, include_context=True):
            message, hint = message_and_hint(details, model)
            unknown = details["type"] == "extra_forbidden"
            path = (*base, *details["loc"])
            if path[:2] == ("policy", "rules") and self.has_rules_only:
                path = ("policy", *path[2:])
            self.add_problem(path, message, hint, at_key=unknown)
