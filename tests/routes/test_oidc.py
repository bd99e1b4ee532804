from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.routes.oidc import (
    DEFAULT_SCOPES,
    OIDC_OPTIONS,
    OidcDefaults,
    OidcOptions,
    audience,
    merge_oidc,
    read_oidc,
)

DEFAULTS = OidcDefaults(
    issuer_url="https://id.example.com",
    client_id="gate",
    client_secret="canary",
    allowed_users=("ann",),
    allowed_groups=("staff",),
)


def test_options_are_read_from_lists_and_texts() -> None:
    found, problems = read_oidc(
        {"issuer_url": "https://id/", "allowed_users": "ann, bob", "allowed_groups": ["a", " b "], "scopes": "openid"}
    )
    assert problems == []
    assert found == OidcOptions(
        issuer_url="https://id/", allowed_users=("ann", "bob"), allowed_groups=("a", "b"), scopes=("openid",)
    )


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"issuer_url": "auth.example.com"}, "issuer_url"),
        ({"issuer_url": "ftp://auth.example.com"}, "issuer_url"),
        ({"issuer_url": "https://user:canary@auth.example.com"}, "issuer_url"),
        ({"issuer_url": "https://auth.example.com?x=1"}, "issuer_url"),
        ({"issuer_url": "https://[::1"}, "issuer_url"),
        ({"issuer_url": "https://auth:99999"}, "issuer_url"),
        ({"client_id": ["x"]}, "client_id"),
        ({"client_secret": "can\nary"}, "client_secret"),
        ({"client_secret": {"canary": 1}}, "client_secret"),
        ({"scopes": ["profile"]}, "scopes"),
        ({"scopes": ["openid", 'a"b']}, "scopes"),
        ({"allowed_users": {"ann": 1}}, "allowed_users"),
        ({"allowed_groups": [["a"]]}, "allowed_groups"),
        ({"allowed_users": ["x"] * 1001}, "allowed_users"),
    ],
)
def test_what_is_wrong_is_named_without_its_secret(options: dict[str, Any], option: str) -> None:
    _, problems = read_oidc(options)
    assert [it[0] for it in problems] == [option]
    assert "canary" not in str(problems)
    assert all(it[2] for it in problems)


@given(st.dictionaries(st.sampled_from(OIDC_OPTIONS), st.recursive(st.text() | st.none() | st.integers(), st.lists)))
def test_any_value_is_read_or_reported(options: dict[str, Any]) -> None:
    found, problems = read_oidc(options)
    assert {name for name, _, _ in problems} <= set(options)
    merge_oidc(found, DEFAULTS)


def test_a_route_inherits_what_it_leaves_open() -> None:
    merged, missing = merge_oidc(OidcOptions(), DEFAULTS)
    assert missing == ""
    assert (merged.client_secret, merged.allowed_users, merged.scopes) == ("canary", ("ann",), DEFAULT_SCOPES)


def test_a_secret_never_goes_to_another_provider_or_client() -> None:
    for own in (
        OidcOptions(issuer_url="https://evil.example", allowed_users=("x",)),
        OidcOptions(issuer_url="https://evil.example", client_id="gate", allowed_users=("x",)),
        OidcOptions(client_id="other"),
    ):
        merged, missing = merge_oidc(own, DEFAULTS)
        assert merged.client_secret == ""
        assert "client_secret" in missing


def test_a_list_of_a_route_replaces_both_lists_of_the_configuration() -> None:
    merged, _ = merge_oidc(OidcOptions(allowed_users=("bob",)), DEFAULTS)
    assert (merged.allowed_users, merged.allowed_groups) == (("bob",), ())
    other, missing = merge_oidc(OidcOptions(issuer_url="https://x", client_id="c", client_secret="s"), DEFAULTS)
    assert (other.allowed_users, missing) == ((), "missing: allowed_users or allowed_groups")


def test_a_slash_at_the_end_makes_no_other_provider() -> None:
    merged, missing = merge_oidc(OidcOptions(issuer_url="https://id.example.com/"), DEFAULTS)
    assert (merged.client_secret, missing) == ("canary", "")


def test_sessions_are_for_one_backend_and_one_set_of_users() -> None:
    options, _ = merge_oidc(OidcOptions(), DEFAULTS)
    found = {
        audience("route/a", options),
        audience("route/b", options),
        audience("pool/a", options),
        audience("route/a", merge_oidc(OidcOptions(allowed_users=("bob",)), DEFAULTS)[0]),
        audience("route/a", merge_oidc(OidcOptions(client_id="x", client_secret="y"), DEFAULTS)[0]),
    }
    assert len(found) == 5
    assert audience("route/a", options) == audience("route/a", merge_oidc(OidcOptions(), DEFAULTS)[0])


def test_the_secret_is_not_shown() -> None:
    assert "canary" not in repr(DEFAULTS)
    assert "canary" not in str([DEFAULTS.for_routes])


def test_a_thousand_users_may_be_listed() -> None:
    for number, is_reported in ((1_000, False), (1_001, True)):
        _, problems = read_oidc({"allowed_users": [f"user{each}" for each in range(number)]})
        assert ("allowed_users" in [option for option, _, _ in problems]) is is_reported
