from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage.config.load import read_config
from pilotage.config.oidc_env import oidc_of_env
from pilotage.core.errors import ConfigError

if TYPE_CHECKING:
    from pilotage.routes.oidc import OidcDefaults


def read(text: str, **env: str) -> OidcDefaults:
    return read_config(text, file="pilotage.yml", folder=Path("/nowhere"), env=env).options.oidc


def test_the_section_sets_what_routes_inherit() -> None:
    found = read(
        "oidc: {issuer_url: https://id, client_id: gate, client_secret: '${SECRET}', allowed_groups: 'a, b',"
        " session: 8h}",
        SECRET="canary",
    )
    assert (found.issuer_url, found.client_secret, found.allowed_groups) == ("https://id", "canary", ("a", "b"))
    assert found.session_seconds == 8 * 3600


def test_environment_variables_complete_it() -> None:
    env = {"GODOXY_OIDC_ISSUER_URL": "https://id", "OIDC_CLIENT_ID": "gate", "PILOTAGE_OIDC_CLIENT_SECRET": "canary"}
    assert read("{}", **env) == read("oidc: {}", **env)
    assert read("oidc: {allowed_users: ann}", **env).client_secret == "canary"
    assert read("{}", **env, OIDC_ISSUER_URL="https://other").issuer_url == "https://id"
    assert oidc_of_env({"OIDC_SCOPES": "openid,profile"}).scopes == ("openid", "profile")
    assert oidc_of_env({"OIDC_ISSUER_URL": "nonsense"}).issuer_url == ""


@pytest.mark.parametrize("own", ["issuer_url: https://other", "client_id: other"])
def test_a_secret_of_the_environment_goes_only_where_it_belongs(own: str) -> None:
    env = {"OIDC_ISSUER_URL": "https://id", "OIDC_CLIENT_ID": "gate", "OIDC_CLIENT_SECRET": "canary"}
    assert read(f"oidc: {{{own}}}", **env).client_secret == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{isuer_url: https://id}", "unknown key 'isuer_url'; did you mean 'issuer_url'?"),
        ("{issuer_url: id}", "oidc.issuer_url: not the URL of an OpenID provider; write one such as https://auth"),
        ("{client_secret: [canary]}", "oidc.client_secret: not a single line of text"),
        ("{scopes: profile}", "oidc.scopes: the scope openid is missing"),
        ("{all_routes: true, bypass: [pth /]}", ": oidc.bypass: "),
        ("{bypass: path /}", "oidc.bypass: bypass has no effect without all_routes"),
        ("{session: 1s}", "oidc.session: the duration of a session is out of range; write a duration from 1m"),
        ("{session_key_file: none}", "oidc.session_key_file: /nowhere/none does not exist"),
    ],
)
def test_errors_say_what_is_wrong_and_no_secret(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"oidc: {text}")
    assert message in str(caught.value)
    assert "canary" not in str(caught.value)


def test_all_routes_can_need_a_login() -> None:
    found = read("oidc: {all_routes: true, bypass: path /health}")
    assert (found.all_routes, found.bypass) == (True, ("path /health",))
    assert (found.for_routes.all_routes, found.for_routes.bypass) == (True, ("path /health",))
