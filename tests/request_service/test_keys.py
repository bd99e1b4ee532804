from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pilotage.request_service.keys import SessionKeys

KEYS = SessionKeys(b"s" * 32)
SEALED = KEYS.seal("login", "text")


def claims(**others: object) -> dict[str, object]:
    return {"iss": "me", "exp": int(time.time()) + 60, **others}


def test_gateways_with_one_secret_accept_one_anothers_tokens() -> None:
    token = SessionKeys(b"s" * 32).sign(claims(a=1))
    found = KEYS.verify(token, "me")
    assert found is not None
    assert found["a"] == 1
    assert SessionKeys(b"t" * 32).verify(token, "me") is None
    assert SessionKeys(b"s" * 32).public == KEYS.public


def test_the_public_keys_have_no_private_part() -> None:
    (key,) = json.loads(KEYS.public)["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "use", "alg", "kid"}


@pytest.mark.parametrize("wrong", [{"exp": 1}, {"iss": "other"}, {"exp": None}])
def test_tokens_that_have_expired_or_are_of_others_are_not_accepted(wrong: dict[str, object]) -> None:
    given = {name: value for name, value in claims(**wrong).items() if value is not None}
    assert KEYS.verify(KEYS.sign(given), "me") is None


def test_a_token_without_a_signature_is_not_accepted() -> None:
    import jwt

    assert KEYS.verify(jwt.encode(claims(), None, algorithm="none"), "me") is None
    assert KEYS.verify(jwt.encode(claims(), "k" * 64, algorithm="HS256"), "me") is None


@given(st.text())
def test_sealed_texts_open_only_for_their_purpose(text: str) -> None:
    sealed = KEYS.seal("login", text)
    assert KEYS.open("login", sealed) == text
    assert KEYS.open("hint", sealed) is None
    assert SessionKeys(b"t" * 32).open("login", sealed) is None


@given(st.text() | st.binary(max_size=100).map(lambda it: it.hex()))
@example("A" * 9000)
@example("")
@example("A")
def test_any_other_text_is_neither_a_token_nor_sealed(text: str) -> None:
    assert KEYS.open("login", text) is None
    assert KEYS.verify(text, "me") is None


@given(st.data())
def test_a_changed_sealed_text_does_not_open(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SEALED) - 2))
    other = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda it: it != SEALED[at]))
    assert KEYS.open("login", SEALED) == "text"
    assert KEYS.open("login", SEALED[:at] + other + SEALED[at + 1 :]) is None
