from __future__ import annotations

import pytest

from pilotage.labels.keys import label_shape, near_namespaces, own_keys, split_key


def told(labels: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(problem.label, problem.message, problem.hint) for problem in near_namespaces(labels)]


def test_a_key_names_an_alias_and_a_path() -> None:
    assert split_key("proxy.Web.Health.Path") == ("web", ("Health", "Path"))
    assert split_key("proxy.web") == ("web", ())


def test_the_bare_namespace_is_told() -> None:
    assert told({"proxy": "x"}) == [
        ("proxy", "the label names neither an alias nor a field", "write proxy.<alias>.<field>")
    ]


def test_own_keys_are_found_among_those_of_others_seen_before_or_not() -> None:
    labels = {"proxy.web.port": "80", "other.key": "1", "proxy.aliases": "web", "Proxy.x": "2", "proxy": "3"}
    assert sorted(own_keys(labels)) == ["proxy.aliases", "proxy.web.port"]
    near_namespaces(labels)
    assert sorted(own_keys(labels)) == ["proxy.aliases", "proxy.web.port"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("prxy.web.port", "proxy.web.port"),
        ("porxy.web.port", "proxy.web.port"),
        ("proxxy.web.port", "proxy.web.port"),
        ("proxy-web.port", "proxy.web.port"),
    ],
)
def test_a_mistyped_namespace_is_told(key: str, meant: str) -> None:
    ((label, message, hint),) = told({key: "1"})
    assert label == key
    assert "is not a namespace of pilotage" in message
    assert hint == f"did you mean {meant!r}?"


@pytest.mark.parametrize("key", ["Proxy.x", "proxyx", "prx.web", "pax.y", "traefik.x", "prxy", "", ".", "proxy_web.x"])
def test_what_is_not_near_the_namespace_is_not(key: str) -> None:
    assert told({key: "1"}) == []


def shape(labels: dict[str, str], *listed: str) -> object:
    near_namespaces(labels)  # keys of others are known after that
    return label_shape(labels, listed)


def test_labels_that_say_the_same_of_aliases_in_turn_have_one_shape() -> None:
    one = shape({"proxy.a.port": "80", "proxy.*.host": "x", "proxy.schemes": "http", "other": "1"}, "a", "b")
    other = shape({"proxy.x.port": "80", "proxy.*.host": "x", "proxy.schemes": "http", "another": "2"}, "x", "y")
    assert one == other != shape({"proxy.y.port": "80", "proxy.*.host": "x", "proxy.schemes": "http"}, "x", "y")
    assert one is not None


def test_an_alias_that_looks_like_a_sign_is_not_taken_for_a_name() -> None:
    assert shape({"proxy.*.port": "80"}, "*", "b") != shape({"proxy.a.port": "80"}, "a", "b")
    assert shape({"proxy.#2.port": "80"}, "#2", "b") != shape({"proxy.a.port": "80"}, "a", "b")


@pytest.mark.parametrize(
    ("labels", "listed"),
    [
        ({"proxy.c.port": "80"}, ("a", "b")),
        ({"proxy.A.port": "80"}, ("a", "b")),
        ({"proxy.": "80"}, ("a", "b")),
        ({"proxy": "80"}, ("a", "b")),
        ({"prxy.a.port": "80"}, ("a", "b")),
        ({"proxy.a.port": "80"}, ("a", "a")),
        ({"proxy.a.rules": "x" * 600}, ("a", "b")),
    ],
)
def test_what_may_be_wrong_or_long_has_none(labels: dict[str, str], listed: tuple[str, ...]) -> None:
    assert shape(labels, *listed) is None
