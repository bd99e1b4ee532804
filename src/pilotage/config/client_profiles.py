"""Reads ``inbound_mtls_profiles``: the profiles of client certificates that routes can require."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator

from pilotage.config.serve import Section
from pilotage.config.validation import list_of_one
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.xds.client_authorities import read_profile
from pilotage.xds.client_profiles import ClientProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pilotage.config.substitute import Path as DocumentPath
    from pilotage.xds.options import GatewayOptions

__all__ = ["ProfileSection", "client_profiles", "common_profile"]

_KEY: Final = "inbound_mtls_profiles"


class ProfileSection(Section):
    """One profile. The first two keys are GoDoxy's."""

    use_system_cas: bool = False
    ca_files: Annotated[list[str], BeforeValidator(list_of_one)] = []  # noqa: RUF012  # pydantic copies it
    optional: bool = False
    crl_files: Annotated[list[str], BeforeValidator(list_of_one)] = []  # noqa: RUF012


def client_profiles(
    sections: Mapping[str, ProfileSection] | None,
    path: Callable[[str], Path],
    add_warning: Callable[[DocumentPath, str, str], None],
) -> tuple[ClientProfile, ...]:
    """Return the profiles. Routes with a profile that cannot be used are not served, so this is only a warning.

    Args:
        sections: the profiles in the configuration.
        path: returns the path of a file that the configuration names.
        add_warning: receives the place, the message and the hint of each problem.

    """
    found = []
    for name, section in (sections or {}).items():
        files = tuple(str(path(file)) for file in section.ca_files)
        lists = tuple(str(path(file)) for file in section.crl_files)
        profile = ClientProfile(name, files, section.use_system_cas, section.optional, crl_files=lists)
        profile = read_profile(profile)[0]
        if profile.problem:
            hint = "list PEM files with the certificates of authorities under ca_files"
            if lists:
                hint = "correct ca_files, and the current revocation lists of these authorities under crl_files"
            add_warning((_KEY, name), f"routes with this profile are not served: {profile.problem}", hint)
        found.append(profile)
    return tuple(found)


def common_profile(
    key: str,
    value: Any,
    options: GatewayOptions,
    add_problem: Callable[[DocumentPath, str, str], None],
) -> str:
    """Return the profile that all HTTP routes require; ``""`` if there is none, or it cannot be required.

    Args:
        key: the key in the section ``entrypoint``; ``""`` if it is not there.
        value: its value.
        options: the gateway's other settings.
        add_problem: receives the place, the message and the hint of each error.

    """
    if value is None or value == "":
        return ""
    place = ("entrypoint", key)
    names = [it.name for it in options.client_profiles]
    if not isinstance(value, str) or value not in names:
        hint = did_you_mean(str(value), names) or f"define it under {_KEY}"
        add_problem(place, f"there is no inbound mTLS profile {shorten(value)!r}", hint)
    elif not options.serves_https:
        hint = "add autocert or gateway.tls"
        add_problem(place, "clients send certificates only over HTTPS, which the gateway does not serve", hint)
    return str(value)
