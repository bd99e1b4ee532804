"""Reads the section ``oidc``: defaults for routes where users sign in. Pure.

Settings that the file omits can come from environment variables, under our names or GoDoxy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from pydantic import AfterValidator, BeforeValidator

from pilotage.config.oidc_env import oidc_of_env
from pilotage.config.serve import Seconds, Section
from pilotage.config.validation import config_error, list_of_one
from pilotage.routes.oidc import OIDC_OPTIONS, OidcDefaults, OidcOptions, read_oidc
from pilotage.routes.rules import RuleError
from pilotage.xds.bypass import read_bypass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pilotage.config.substitute import Path as DocumentPath

__all__ = ["OidcSection", "oidc_defaults"]

_SHORTEST_SESSION: Final = 60.0
_LONGEST_SESSION: Final = 400 * 86_400.0  # browsers keep no cookie for longer


def _session(seconds: float) -> float:
    if not _SHORTEST_SESSION <= seconds <= _LONGEST_SESSION:
        raise config_error("the duration of a session is out of range", "write a duration from 1m to 9600h")
    return seconds


class OidcSection(Section):
    """The section ``oidc``. Options that labels can also set are checked in the same way as in labels."""

    issuer_url: Any = None
    client_id: Any = None
    client_secret: Any = None
    scopes: Any = None
    allowed_users: Any = None
    allowed_groups: Any = None
    all_routes: bool = False
    bypass: Annotated[tuple[str, ...], BeforeValidator(list_of_one)] = ()
    session: Annotated[Seconds, AfterValidator(_session)] = OidcDefaults().session_seconds
    session_key_file: str = ""


def oidc_defaults(
    section: OidcSection | None,
    env: Mapping[str, str],
    add_problem: Callable[[DocumentPath, str, str], None],
    file: Callable[[str, DocumentPath], str],
) -> OidcDefaults:
    """Return the OIDC settings of the configuration file. Missing ones come from environment variables.

    Args:
        section: the section; ``None`` if the file has none.
        env: the environment.
        add_problem: reports an error, given its document path, a message and a hint.
        file: returns the path of a file, given its name and where the document has it; reports a missing file.

    """
    inherited = oidc_of_env(env)
    if section is None:
        return inherited
    own, problems = read_oidc({name: getattr(section, name) for name in OIDC_OPTIONS})
    for option, message, hint in problems:
        add_problem(("oidc", option), message, hint)
    try:
        if section.bypass:
            read_bypass(list(section.bypass))
    except RuleError as error:
        add_problem(("oidc", "bypass"), error.message, error.hint)
    if section.bypass and not section.all_routes:
        hint = "add all_routes: true, or write it below the middleware of a route"
        add_problem(("oidc", "bypass"), "bypass has no effect without all_routes", hint)
    # A secret from the environment never goes to a provider or client that only the file names.
    merged = _merged(own, inherited)
    return msgspec.structs.replace(
        inherited,
        **{name: getattr(merged, name) for name in OIDC_OPTIONS},
        all_routes=section.all_routes,
        bypass=section.bypass,
        session_seconds=section.session,
        session_key_file=file(section.session_key_file, ("oidc", "session_key_file")),
    )


def _merged(own: OidcOptions, inherited: OidcDefaults) -> OidcOptions:
    same = own.issuer_url in {"", inherited.issuer_url} and own.client_id in {"", inherited.client_id}
    if not same:
        return own
    return OidcOptions(**{name: getattr(own, name) or getattr(inherited, name) for name in OIDC_OPTIONS})
