from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.request_service.keys import SessionKeys
from pilotage.request_service.sessions import User, has_access, issue_session, read_session, read_user
from pilotage.routes.oidc import OidcOptions

KEYS = SessionKeys(b"s" * 32)
STAFF = OidcOptions(allowed_users=("ann", "Ann@Example.com"), allowed_groups=("staff",))


@pytest.mark.parametrize(
    ("claims", "allowed"),
    [
        ({"preferred_username": "ann"}, True),
        ({"preferred_username": "Ann"}, False),
        ({"groups": ["guests", "staff"]}, True),
        ({"groups": "staff"}, True),
        ({"groups": ["guests"]}, False),
        ({"email": "ann@example.com", "email_verified": True}, True),
        ({"email": "ann@example.com"}, False),
        ({"email": "ann@example.com", "email_verified": False}, False),
        ({"email": "ann", "email_verified": True}, False),
        ({"preferred_username": ["ann"]}, False),
        ({"groups": [["staff"], {"staff": 1}, None]}, False),
        ({}, False),
    ],
)
def test_access_needs_a_listed_name_verified_address_or_group(claims: dict[str, Any], allowed: bool) -> None:
    assert has_access(read_user(claims), STAFF) is allowed


def test_empty_names_give_no_access() -> None:
    assert not has_access(User(""), OidcOptions(allowed_users=("",), allowed_groups=("",)))


@given(st.dictionaries(st.text(), st.recursive(st.text() | st.integers() | st.booleans(), st.lists)))
def test_what_goes_into_headers_has_no_line_ends(claims: dict[str, Any]) -> None:
    user = read_user({**claims, "name": claims.get("x"), "groups": list(claims)})
    assert all(text.isprintable() for text in (user.name, user.display, user.email, *user.groups))


def test_a_session_is_valid_for_one_audience_until_it_expires() -> None:
    token = issue_session(KEYS, User("ann", "Ann", "a@b", ("x", "staff")), "here", STAFF, 60)
    assert read_session(KEYS, token, "here") == {"user": "ann", "name": "Ann", "email": "a@b", "groups": "staff,x"}
    assert read_session(KEYS, token, "there") is None
    assert read_session(SessionKeys(b"t" * 32), token, "here") is None
    assert read_session(KEYS, "", "here") is None


def test_a_session_with_many_groups_still_fits_into_a_cookie() -> None:
    user = User("ann", "n" * 256, "e" * 256, (*(f"group-{number}" for number in range(1000)), "staff"))
    token = issue_session(KEYS, user, "a" * 32, STAFF, 60)
    assert len(token) < 3900
    found = read_session(KEYS, token, "a" * 32)
    assert found is not None
    assert found["groups"].startswith("staff,group-0,")
