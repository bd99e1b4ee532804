from __future__ import annotations

from typing import Any

import pytest

from pilotage.core.secrets import (
    EVERYTHING,
    HEADER_NAMES,
    HIDDEN,
    SHOWN,
    UNSEEN,
    Visibility,
    clean,
    clean_value,
    hidden_texts,
    holds_secret,
    redact,
    shown_name,
    shown_text,
    without,
)

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
TREE = Visibility(
    fields={"port": SHOWN, "oidc": Visibility(fields={"issuerurl": SHOWN}), "set": Visibility(names=True)}
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tcp://me:canary@host:2375", f"tcp://{HIDDEN}@host:2375"),
        ("https://me:can@ary@host/x", f"https://{HIDDEN}@host/x"),
        ("https://me:can/ary@host/x", f"https://{HIDDEN}@host/x"),
        ("https://:<canary>@host", f"https://{HIDDEN}@host"),
        ("ssh://me@host:22/x", "ssh://me@host:22/x"),
        ("ssh://me@host:22/x:y@z", f"ssh://me@host:22/{HIDDEN}@z"),
        ("https://host:8080/@scope/x", "https://host:8080/@scope/x"),
        ("/up?key=canary&b=<c", f"/up?key={HIDDEN}&b={HIDDEN}"),
        ("Why? a=b", "Why? a=b"),
        ("Authorization: Bearer canary-1", f"Authorization: Bearer {HIDDEN}"),
        ("basic Y2FuYXJ5", f"basic {HIDDEN}"),
        ("a basic shop; the bearer of news", "a basic shop; the bearer of news"),
        (f"token {JWT} end", f"token {HIDDEN} end"),
        ("ghp_0123456789abcdef", HIDDEN),
        ("sk-proj-0123456789", HIDDEN),
        ("AKIAABCDEFGHIJKLMNOP", HIDDEN),
        ("a -----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY----- b", f"a {HIDDEN} b"),
        ("-----BEGIN PRIVATE KEY-----\nabc", HIDDEN),
        ("sha256:" + "0a" * 32, "sha256:" + "0a" * 32),  # digests and IDs are no secrets in messages
        ("did you mean 'scheme'?", "did you mean 'scheme'?"),
    ],
)
def test_what_is_a_secret_anywhere_is_removed_once_and_for_all(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert clean(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0a" * 16, HIDDEN),
        ("Zm9vYmFyYmF6cXV4MTIzNDU=", HIDDEN),
        ("key Ab1" + "x" * 20, f"key {HIDDEN}"),
        ("/certs/Abc123/defghijklmnopqrst.pem", "/certs/Abc123/defghijklmnopqrst.pem"),
        ("a-Long-name-of-3-words-and-more", "a-Long-name-of-3-words-and-more"),
        ("internationalization", "internationalization"),
        ("1" * 40, "1" * 40),
        ("https://me:x@h/?k=v", f"https://{HIDDEN}@h/?k={HIDDEN}"),
    ],
)
def test_words_that_look_like_keys_are_removed_from_values(text: str, shown: str) -> None:
    assert clean_value(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"port": 80, "Port": [80, "81"]}, {"port": 80, "Port": [80, "81"]}),
        ({"prot": 80}, {"prot": HIDDEN}),
        ({"port": {"password": "x"}}, {"port": HIDDEN}),
        ({"port": [{"password": "x"}, ["y"]]}, {"port": [HIDDEN, ["y"]]}),
        (
            {"oidc": {"issuer_url": "https://id", "client_secret": "x"}},
            {"oidc": {"issuer_url": "https://id", "client_secret": HIDDEN}},
        ),
        ({"oidc": "client_secret: x"}, {"oidc": HIDDEN}),
        ({"oidc": ["x"]}, {"oidc": HIDDEN}),
        (
            {"set": {"X-Key": "x", "X-Empty": "", "no name: x": "y"}},
            {"set": {"X-Key": HIDDEN, "X-Empty": "", HIDDEN: HIDDEN}},
        ),
        ({"set": "X-Key: x"}, {"set": HIDDEN}),
        ({"set": ["X-Key: x"]}, {"set": [HIDDEN]}),
        (
            {"other": None, "more": True, "empty": {}, "none": []},
            {"other": None, "more": True, "empty": {}, "none": []},
        ),
    ],
)
def test_only_known_names_show_their_values(value: Any, shown: Any) -> None:
    assert redact(value, TREE) == shown
    assert redact(value, EVERYTHING) == value


def test_a_path_may_have_indices() -> None:
    assert TREE.at(["oidc", "issuer_url[2]"]) is SHOWN
    assert TREE.at(["oidc", "isuer_url"]) is UNSEEN
    assert TREE.at([]) is TREE
    assert EVERYTHING.at(["x"]) is EVERYTHING


def test_a_name_that_cannot_be_one_may_be_the_secret() -> None:
    assert shown_name("X-Key") == "X-Key"
    assert shown_name("X-Key canary") == HIDDEN
    assert shown_name("AKIAABCDEFGHIJKLMNOP") == HIDDEN


def test_the_text_of_a_label_is_shown_if_its_field_is() -> None:
    assert shown_text("80", SHOWN) == "80"
    assert shown_text("canary", UNSEEN) == HIDDEN


def test_hidden_texts_are_found_wherever_they_are() -> None:
    value = {"port": 80, "x": ["a", {"y": "b"}], "set": {"K": 5, "odd key": None}, "on": True}
    assert set(hidden_texts(value, TREE)) == {"a", "b", "5", "odd key"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("user:canary@h", f"{HIDDEN}@h"),
        ("see //user:canary@h/x.", f"see //{HIDDEN}@h/x."),
        ("https://canary@h/x", f"https://{HIDDEN}@h/x"),
        ("ssh://me@h/x", "ssh://me@h/x"),
        ("me@example.com", "me@example.com"),
        ("mailto:me:canary@h", f"{HIDDEN}@h"),
        ("user%3Acanary%40h", f"{HIDDEN}%40h"),
        ("user%253Acanary%2540h", f"{HIDDEN}%2540h"),
        ("(user:canary@h)", f"({HIDDEN}@h)"),
        ("nginx:1.27@sha256:" + "0a" * 32, "nginx:1.27@sha256:" + "0a" * 32),
        ("https://h/#access_token=canary&x=canary", f"https://h/#access_token={HIDDEN}&x={HIDDEN}"),
        ("/x;token=canary", f"/x;token={HIDDEN}"),
        ("/x%3Ftoken%3Dcanary", f"/x%3Ftoken%3D{HIDDEN}"),
        ("label #1.port=8080", "label #1.port=8080"),
        ("a; b=c", "a; b=c"),
    ],
)
def test_a_secret_is_removed_in_whatever_spelling(text: str, shown: str) -> None:
    assert clean(text) == shown
    assert clean(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("X-Key: canary", f"X-Key: {HIDDEN}"),
        ("Accept, x-api-key=canary", f"Accept, x-api-key={HIDDEN}"),
        ("Authorization: Bearer canary", f"Authorization: {HIDDEN}"),
        ("client_secret: canary", f"client_secret: {HIDDEN}"),
        ("Name: value", "Name: value"),
        ("monkey: ape", "monkey: ape"),
    ],
)
def test_a_header_with_its_value_is_removed_from_a_value(text: str, shown: str) -> None:
    assert clean_value(text) == shown
    assert clean_value(shown) == shown
    assert holds_secret(text) is (text != shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("X-A, X-B", "X-A, X-B"),
        ("[X-A, 'X-B']", "[X-A, 'X-B']"),
        ("- X-A\n- X-B", "- X-A\n- X-B"),
        ("X-A, X-Key: canary", f"X-A, {HIDDEN}"),
        ("X-Key canary", HIDDEN),
        (["X-A", "X-Key: canary", {"X-Key": "canary"}], ["X-A", HIDDEN, HIDDEN]),
    ],
)
def test_of_names_of_headers_only_names_are_shown(value: Any, shown: Any) -> None:
    assert redact(value, HEADER_NAMES) == shown
    assert ("canary" in str(list(hidden_texts(value, HEADER_NAMES)))) is ("canary" in str(value))


def test_an_error_message_loses_secrets_however_they_are_escaped() -> None:
    secrets = {'ca"nary', "Bearer abcdef", "ü-canary", "x"}
    for said in ('value ca"nary', 'value "ca\\"nary"', "got abcdef", "\\303\\274-canary", "ü-canary"):
        found = without(f"bad header: {said}", secrets)
        assert HIDDEN in found
        assert not any(part in found for part in ("nary", "abcdef"))
    assert without("exact", {"x"}) == "exact"  # too short to be distinguished


@pytest.mark.parametrize(
    "part",
    [
        "://a:b", "://", "https://u:p", "?a=b&", "bearer ", "-----BEGIN PRIVATE KEY-----", "@:", "a:", ":8080/", "//",
        "%25", "%40", "%2540", "a%3Ab%40", "?a", "%3Fa", ";a", "#a", "&", "X-a", "X-a:", "key", "a-key:", "a-", "key= ",
    ],
)  # fmt: skip
def test_the_cost_of_cleaning_a_text_grows_with_its_length_only(part: str) -> None:
    """One label of 120 KB stopped everything for a minute. The time limit of a test is one minute, too."""
    text = part * (200_000 // len(part)) + " x@y"
    assert clean_value(text)
