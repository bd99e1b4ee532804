from __future__ import annotations

import pytest

from pilotage.core.text import shorten
from pilotage.labels.keys import NO_OWN_LABELS, filter_labels, fingerprint, is_own, shown_key, split_key
from tests.support.defaults import filled_by_default


def reported(labels: dict[str, str]) -> list[tuple[str, str, str]]:
    return [(problem.label, problem.message, problem.hint) for problem in filter_labels(labels).warnings]


def test_a_key_names_an_alias_and_a_path() -> None:
    assert split_key("proxy.Web.Health.Path") == ("web", ("Health", "Path"))
    assert split_key("proxy.web") == ("web", ())


def test_the_bare_namespace_is_reported() -> None:
    assert reported({"proxy": "x"}) == [
        ("proxy", "the label has neither an alias nor a field", "write proxy.<alias>.<field>")
    ]


def test_at_most_a_hundred_misspelt_labels_are_reported_and_none_is_forgotten() -> None:
    labels = {f"prxy.a{number:03}": "1" for number in range(103)} | {"other": "1"}
    foreign: set[str] = set()
    for _ in range(2):
        own = filter_labels(labels, foreign)
        assert len(own.warnings) == 101
        assert own.warnings[-1].message == "3 more labels look misspelled, too"
        assert foreign == {"other"}


def test_own_labels_are_selected_whether_foreign_keys_are_known_or_not() -> None:
    labels = {"proxy.web.port": "80", "other.key": "1", "proxy.aliases": "web", "Proxy.x": "2", "proxy": "3"}
    foreign: set[str] = set()
    for _ in range(2):
        own = filter_labels(labels, foreign)
        assert (own.options, own.routes) == ({"proxy.aliases": "web"}, {"proxy.web.port": "80"})
        assert [warning.label for warning in own.warnings] == ["Proxy.x", "proxy"]
        assert foreign == {"other.key"}


def test_a_container_without_own_labels_has_none() -> None:
    assert filter_labels({"com.example": "x"}) is NO_OWN_LABELS
    assert NO_OWN_LABELS.is_empty
    assert filter_labels({"prxy.web": "x"}).is_empty
    assert not filter_labels({"proxy.exclude": "false"}).is_empty


def test_routes_are_sorted_by_key() -> None:
    assert list(filter_labels({"proxy.b.x": "1", "proxy.a": "2", "proxy.b": "3"}).routes) == [
        "proxy.a",
        "proxy.b",
        "proxy.b.x",
    ]


@pytest.mark.parametrize(("key", "own"), [("proxy.web", True), ("proxy.", True), ("proxy", False), ("Proxy.x", False)])
def test_the_namespace_is_case_sensitive(key: str, own: bool) -> None:
    assert is_own(key) is own


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("prxy.web.port", "proxy.web.port"),
        ("Proxy.web.port", "proxy.web.port"),
        ("porxy.web.port", "proxy.web.port"),
        ("proxxy.web.port", "proxy.web.port"),
        ("proxy-web.port", "proxy.web.port"),
    ],
)
def test_a_misspelt_namespace_causes_a_warning(key: str, meant: str) -> None:
    ((label, message, hint),) = reported({key: "1"})
    assert label == key
    assert "is not a pilotage namespace" in message
    assert hint == f"did you mean {meant!r}?"


@pytest.mark.parametrize("key", ["proxyx", "prx.web", "pax.y", "traefik.x", "prxy", "", ".", "proxy_web.x", "prox-.x"])
def test_other_keys_cause_no_warning(key: str) -> None:
    assert reported({key: "1"}) == []


def test_a_key_of_more_than_1024_characters_is_shortened_in_messages() -> None:
    assert shown_key("x" * 1024) == "x" * 1024
    assert len(shown_key("x" * 1025)) < 250


def shape(labels: dict[str, str], *listed: str) -> object:
    return fingerprint(filter_labels(labels), listed)


def test_labels_that_say_the_same_about_the_nth_alias_have_one_fingerprint() -> None:
    one = shape({"proxy.a.port": "80", "proxy.*.host": "x", "proxy.schemes": "http", "other": "1"}, "a", "b")
    other = shape({"proxy.x.port": "80", "proxy.*.host": "x", "proxy.schemes": "http", "another": "2"}, "x", "y")
    assert one == other != shape({"proxy.y.port": "80", "proxy.*.host": "x", "proxy.schemes": "http"}, "x", "y")
    assert one is not None


def test_labels_that_set_different_fields_of_the_only_alias_have_different_fingerprints() -> None:
    sets: list[dict[str, str]] = [
        {},
        {"proxy.a.port": "80"},
        {"proxy.a.port": "81"},
        {"proxy.a.host": "80"},
        {"proxy.*.port": "80"},
        {"proxy.*.port": "81"},
        {"proxy.a.port": "80", "proxy.*.host": "x"},
        {"proxy.a.port": "80", "proxy.*.host": "y"},
        {"proxy.a.port": "80", "proxy.a.host": "x"},
        {"proxy.ports": "80"},
    ]
    shapes = [shape(labels, "a") for labels in sets]
    assert None not in shapes
    assert len(set(shapes)) == len(sets)
    assert shapes[1] == shape({"proxy.b.port": "80"}, "b")
    assert len({shape({"proxy.a.port": "80"}, *listed) for listed in (("a",), ("a", "b"), ("b", "a"))}) == 3


def test_forms_that_name_different_aliases_have_different_fingerprints() -> None:
    forms = ("proxy.*.port", "proxy.#1.port", "proxy.$1.port", "proxy.#2.port", "proxy.ports", "proxy.hosts")
    assert len({shape({form: "80"}, "a", "b") for form in forms}) == len(forms)


def test_an_alias_with_a_dot_is_not_what_a_label_names() -> None:
    assert shape({"proxy.a.b.port": "80"}, "a.b") != shape({"proxy.x.port": "80"}, "x")


def test_an_alias_that_looks_like_a_reference_is_not_a_name() -> None:
    assert shape({"proxy.*.port": "80"}, "*", "b") != shape({"proxy.a.port": "80"}, "a", "b")
    assert shape({"proxy.#2.port": "80"}, "#2", "b") != shape({"proxy.a.port": "80"}, "a", "b")
    assert shape({"proxy.$2.port": "80"}, "$2", "b") != shape({"proxy.a.port": "80"}, "a", "b")


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
        ({"proxy.a.rules": "x" * 600}, ("a",)),
        ({"proxy.b.port": "80"}, ("a",)),
    ],
)
def test_labels_with_warnings_or_long_values_have_no_fingerprint(
    labels: dict[str, str], listed: tuple[str, ...]
) -> None:
    assert shape(labels, *listed) is None


def test_foreign_keys_are_forgotten_once_there_are_more_than_50_000() -> None:
    foreign = {str(number) for number in range(49_998)}
    sizes = []
    for number in range(5):
        filter_labels({f"com.example.{number}": "x", "shared": "y"}, foreign)
        sizes.append(len(foreign))
    assert sizes == [50_000, 50_001, 1, 3, 4]  # the shared key was still known when the others were forgotten


def test_very_long_foreign_keys_are_not_kept() -> None:
    foreign: set[str] = set()
    filter_labels({"x" * 499: "", "y" * 500: ""}, foreign)
    assert foreign == {"x" * 499}


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("labels") == {}


def test_a_shortened_key_shows_200_characters() -> None:
    assert shown_key("x" * 1025) == shorten("x" * 1025, 200)


def test_values_of_500_characters_still_have_a_fingerprint() -> None:
    for listed in (("a",), ("a", "b")):
        assert shape({"proxy.a.rules": "x" * 500}, *listed) is not None
        assert shape({"proxy.a.rules": "x" * 501}, *listed) is None


def test_only_options_make_labels_not_empty_too() -> None:
    assert not filter_labels({"proxy.exclude": "true"}).is_empty
    assert not filter_labels({"proxy.web.port": "80"}).is_empty
    assert filter_labels({"prxy.web.port": "80"}).is_empty


def test_our_labels_may_have_one_mebibyte_together() -> None:
    keys = ["proxy.a.x", "proxy.b.x"]
    whole = 1024 * 1024 - sum(map(len, keys))
    assert filter_labels({keys[0]: "1" * (whole - 1), keys[1]: "1"}).error is None
    error = filter_labels({keys[0]: "1" * whole, keys[1]: "1"}).error
    assert error is not None
    assert error.message == "the container has more than 1 MiB of pilotage labels, so it gets no routes"
    assert error.hint == "spread them over several containers"


def test_three_thousand_labels_are_searched_for_misspelt_ones() -> None:
    labels = {"prxy.a.port": "80"} | {f"x{number}": "" for number in range(2_999)}
    assert [label for label, *_ in reported(labels)] == ["prxy.a.port"]
    assert [label for label, *_ in reported(labels | {"one more": ""})] == [""]


def test_the_alias_in_a_key_is_spelled_as_clients_request_it() -> None:
    assert split_key("proxy.Bücher.port") == ("xn--bcher-kva", ("port",))
    assert split_key("proxy.#².port") == ("#²", ("port",))
