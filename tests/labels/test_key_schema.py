from __future__ import annotations

import pytest

from pilotage.labels.key_schema import FREE_KEYS, Key, KeySchema, fold

SCHEMA = KeySchema({"notlsverify": Key("no_tls_verify"), "port": Key("port", KeySchema(lower=True))})


@pytest.mark.parametrize("written", ["no_tls_verify", "NoTLSVerify", "NO_TLS_VERIFY"])
def test_a_key_is_found_in_any_spelling(written: str) -> None:
    assert fold(written) == "notlsverify"
    assert SCHEMA.find(written) == Key("no_tls_verify")
    assert SCHEMA.knows(written)


def test_an_unlisted_key_stands_for_itself() -> None:
    assert SCHEMA.find("Bogus") == Key("Bogus")
    assert not SCHEMA.knows("Bogus")
    assert KeySchema(lower=True).find("Listening") == Key("listening")


def test_an_unlisted_key_may_take_a_mapping() -> None:
    assert KeySchema(below=FREE_KEYS, is_yaml=True).find("oidc") == Key("oidc", FREE_KEYS, is_yaml=True)


def test_free_keys_are_free_at_any_depth() -> None:
    below = FREE_KEYS.find("Any-Thing").below
    assert below is FREE_KEYS
