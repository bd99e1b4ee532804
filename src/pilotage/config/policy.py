"""Defines the section ``policy`` of ``pilotage.yml``: what containers may claim. Pure.

Pydantic models validate the text; :meth:`PolicySection.read_rules` converts them to
:class:`~pilotage.policy.claims.PolicyRule` values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from pilotage.config.serve import PortRange, Section
from pilotage.config.validation import config_error, list_of_one
from pilotage.core.hostnames import ascii_host
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.yaml import kind_name
from pilotage.policy import PLACEHOLDERS, PolicyRule, is_target_glob, placeholders
from pilotage.routes import MIDDLEWARES, middleware_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PolicySection"]

_HOST_GLOB: Final = re.compile(r"[\w*?-]+(?:\.[\w*?-]+)*")
_FILLED: Final = re.compile(r"\{\{[^{}]*\}\}")


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise config_error(f"must be text, not {kind_name(value)}", "")
    text = str(value).strip()
    if not text:
        raise config_error("must not be empty", 'write "*" for any')
    return text


def _condition(value: Any) -> str:
    text = _text(value)
    if "{{" in text:
        raise config_error(f"{shorten(text)!r} has a placeholder", "use placeholders below 'may', not below 'who'")
    return text


def _claim(value: Any) -> str:
    """Return a value as a glob. Raise an error if a placeholder is unknown or incomplete."""
    text = _text(value)
    for name in placeholders(text):
        if name not in PLACEHOLDERS:
            hint = did_you_mean(name, PLACEHOLDERS) or f"the placeholders are {', '.join(PLACEHOLDERS)}"
            raise config_error(f"{shorten(name)!r} is not a placeholder", hint)
    if "{{" in _FILLED.sub("", text) or "}}" in _FILLED.sub("", text):
        raise config_error(f"{shorten(text)!r} has an incomplete placeholder", 'write "{{project}}"')
    return text


def _host(value: Any) -> str:
    text = ascii_host(_claim(value))
    if not _HOST_GLOB.fullmatch(_FILLED.sub("x", text)):
        hint = "write a name or glob such as shop, *.example.com or {{project}}-*"
        raise config_error(f"{shorten(text)!r} is not a host", hint)
    return text


def _target(value: Any) -> str:
    text = _claim(value).lower()
    if not is_target_glob(_FILLED.sub("x", text)):
        hint = "write a host, address or network, with or without ports: 10.0.0.0/8, db.internal:5432, [fd00::/8]:80-90"
        raise config_error(f"{shorten(text)!r} is not a target", hint)
    return text


def _folder(value: Any) -> str:
    text = _claim(value)
    if ".." in text.split("/"):
        raise config_error(f"{shorten(text)!r} leads out of its folder", "write the folder without ..")
    return text


def _middleware(value: Any) -> str:
    text = _text(value)
    if "*" in text or "?" in text:
        return text.lower()
    name = middleware_name(text)
    if name is None:
        known = sorted(set(MIDDLEWARES.values()))
        hint = did_you_mean(text, known) or f"the middlewares are {', '.join(known)}"
        raise config_error(f"{shorten(text)!r} is not a middleware", hint)
    return name


def _labels(value: Any) -> Any:
    if isinstance(value, str):
        raise config_error(
            "label must be a mapping, not text", "write the key and a glob for its value, such as {team: a}"
        )
    return value


def _nothing(value: Any) -> Any:
    """Return an empty list for every kind of claim if the value is ``nothing``; return a mapping unchanged."""
    if not isinstance(value, str):
        return value
    if value != "nothing":
        hint = did_you_mean(value, ["nothing"]) or "write nothing, or what is allowed: {hosts: [shop]}"
        raise config_error(f"{shorten(value)!r} does not say what a container may claim", hint)
    return {name: [] for name in _May.model_fields}


_Conditions = Annotated[list[Annotated[str, BeforeValidator(_condition)]], BeforeValidator(list_of_one)]
_Middlewares = Annotated[list[Annotated[str, BeforeValidator(_middleware)]], BeforeValidator(list_of_one)]
_Hosts = Annotated[list[Annotated[str, BeforeValidator(_host)]], BeforeValidator(list_of_one)]


class _Who(Section):
    engine: _Conditions = Field(default_factory=list)
    project: _Conditions = Field(default_factory=list)
    service: _Conditions = Field(default_factory=list)
    image: _Conditions = Field(default_factory=list)
    label: Annotated[dict[str, _Conditions], BeforeValidator(_labels)] = Field(default_factory=dict)


class _May(Section):
    hosts: _Hosts | None = None
    targets: Annotated[list[Annotated[str, BeforeValidator(_target)]], BeforeValidator(list_of_one)] | None = None
    ports: Annotated[list[PortRange], BeforeValidator(list_of_one)] | None = None
    files: Annotated[list[Annotated[str, BeforeValidator(_folder)]], BeforeValidator(list_of_one)] | None = None
    middlewares: Annotated[list[Annotated[str, BeforeValidator(_middleware)]], BeforeValidator(list_of_one)] | None = (
        None
    )
    pools: _Hosts | None = None


class _Rule(Section):
    name: str = ""
    who: _Who
    may: Annotated[_May, BeforeValidator(_nothing)]


class PolicySection(Section):
    """The section ``policy``."""

    default: Literal["allow", "deny"] = "allow"
    rules: list[_Rule] = Field(default_factory=list)

    def read_rules(self, place: Callable[[int], str], path: Callable[[str], Path]) -> tuple[PolicyRule, ...]:
        """Return the rules in the order of the file, numbered from 1.

        Args:
            place: takes a rule's index, and returns the file and line where the rule is written.
            path: takes the name of a file or folder, which need not exist, and returns its path.

        """
        return tuple(
            PolicyRule(
                number=number + 1,
                name=rule.name,
                place=place(number),
                engine=tuple(glob.removesuffix("!") for glob in rule.who.engine),
                project=tuple(rule.who.project),
                service=tuple(rule.who.service),
                image=tuple(rule.who.image),
                label={key: tuple(globs) for key, globs in rule.who.label.items()},
                hosts=_listed(rule.may.hosts),
                targets=_listed(rule.may.targets),
                ports=_listed(rule.may.ports),
                files=_listed(rule.may.files and [str(path(folder).absolute()) for folder in rule.may.files]),
                middlewares=_listed(rule.may.middlewares),
                pools=_listed(rule.may.pools),
            )
            for number, rule in enumerate(self.rules)
        )


def _listed(found: list[Any] | None) -> tuple[Any, ...] | None:
    return None if found is None else tuple(found)
