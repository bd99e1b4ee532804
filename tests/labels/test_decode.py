from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.core.yaml import bare
from pilotage.labels.decode import DecodedLabels, decode
from pilotage.labels.keys import CONTAINER_OPTIONS, SHORTCUTS, filter_labels
from pilotage.routes.schema import ROUTE, ROUTE_KEYS
from tests.support.examples import more_examples
from tests.support.style import assert_style

if TYPE_CHECKING:
    from pilotage.labels.merge import FieldError


def read(labels: dict[str, str], *aliases: str) -> DecodedLabels:
    return decode(filter_labels(labels), aliases or ("web",), ROUTE_KEYS)


def names(decoded: DecodedLabels) -> list[str]:
    return [fields.alias for fields in decoded.routes]


def errors(decoded: DecodedLabels) -> dict[str, list[FieldError]]:
    return {fields.alias: list(fields.errors) for fields in decoded.routes if fields.errors}


def fields(labels: dict[str, str], *aliases: str) -> dict[str, dict[str, Any]]:
    decoded = read(labels, *aliases)
    assert decoded.problems == ()
    assert errors(decoded) == {}
    return {mine.alias: {name: bare(value) for name, value in mine.fields.items()} for mine in decoded.routes}


def reported(labels: dict[str, str], *aliases: str) -> list[tuple[str, str, str]]:
    """Label, message and hint of every problem, each once."""
    decoded = read(labels, *aliases)
    found = [*decoded.problems, *(error.problem for mine in decoded.routes for error in mine.errors)]
    for problem in found:
        assert_style(problem)
    return list(dict.fromkeys((p.label, p.message, p.hint) for p in found))


# ---- keys -----------------------------------------------------------------------------------------------------------


def test_without_labels_every_alias_has_an_empty_mapping() -> None:
    assert fields({}, "a", "b", "a") == {"a": {}, "b": {}}


def test_a_flat_label_sets_a_field_and_a_deeper_one_a_field_of_it() -> None:
    assert fields({"proxy.web.port": "80", "proxy.web.healthcheck.path": "/up"}) == {
        "web": {"port": "80", "healthcheck": {"path": "/up"}}
    }


def test_a_mapping_in_a_mapping_is_merged_and_the_fields_after_it_count_too() -> None:
    labels = {"proxy.*.healthcheck.path": "/up", "proxy.web": "healthcheck: 'interval: 5s'\nport: 81\n"}
    assert fields(labels) == {"web": {"healthcheck": {"path": "/up", "interval": "5s"}, "port": 81}}


def test_foreign_labels_do_not_matter() -> None:
    labels = {"traefik.enable": "true", "Traefik.web.port": "1", "proxyweb.port": "2", "com.example": "x"}
    assert fields(labels) == {"web": {}}


def test_the_alias_in_a_key_is_lower_cased_and_the_field_may_have_any_spelling() -> None:
    assert fields({"proxy.WEB.NoTLSVerify": "true"}) == {"web": {"no_tls_verify": "true"}}


def test_an_alias_that_is_not_listed_makes_a_further_route() -> None:
    assert list(fields({"proxy.z.port": "1", "proxy.b.port": "2"})) == ["web", "b", "z"]


def test_a_dot_always_separates() -> None:
    assert list(fields({"proxy.app.example.com.port": "1"})) == ["web", "app"]


@pytest.mark.parametrize("key", ["proxy.", "proxy..x", "proxy..", "proxy..x.y"])
def test_an_empty_alias_is_reported(key: str) -> None:
    assert reported({key: "1"}) == [(key, "empty alias", "write proxy.<alias>.<field>")]


# ---- references -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["#2", "$2", "#+2", "#02"])
def test_a_reference_names_the_alias_at_its_position(key: str) -> None:
    assert fields({f"proxy.{key}.port": "81"}, "a", "b") == {"a": {}, "b": {"port": "81"}}


def test_repeated_aliases_count() -> None:
    assert fields({"proxy.#3.port": "81"}, "a", "a", "b") == {"a": {}, "b": {"port": "81"}}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("#3", "there is no alias number 3: index out of range"),
        ("#0", "there is no alias number 0: index out of range"),
        ("$-1", "there is no alias number -1: index out of range"),
        ("#x", "'x' is not a number"),
        ("#", "'' is not a number"),
        ("# 1", "' 1' is not a number"),
        ("#1x", "'1x' is not a number"),
        ("#²", "'²' is not a number"),
    ],
)
def test_a_reference_to_no_alias_is_reported_and_creates_no_route(key: str, said: str) -> None:
    decoded = read({f"proxy.{key}.port": "81"}, "a", "b")
    assert names(decoded) == ["a", "b"]
    (problem,) = decoded.problems
    assert (problem.label, problem.message, problem.hint) == (f"proxy.{key}.port", said, "available: #1 (a), #2 (b)")


def test_each_label_with_a_reference_to_nothing_is_reported() -> None:
    labels = {"proxy.#9.scheme": "https", "proxy.#9.port": "1", "proxy.#9": "host: x"}
    assert [label for label, _, _ in reported(labels)] == ["proxy.#9", "proxy.#9.port", "proxy.#9.scheme"]


# ---- precedence -----------------------------------------------------------------------------------------------------

# Weakest first (decision 1): each sets the scheme of alias web, in its own way, to a value that tells who it was.
SOURCES = [
    ("proxy.*", "scheme: {}"),
    ("proxy.*.scheme", "{}"),
    ("proxy.schemes", "{}"),
    ("proxy.#1", "scheme: {}"),
    ("proxy.#1.scheme", "{}"),
    ("proxy.web", "scheme: {}"),
    ("proxy.web.scheme", "{}"),
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(range(len(SOURCES))), min_size=1, unique=True).flatmap(st.permutations))
def test_the_strongest_label_wins_in_any_order(chosen: list[int]) -> None:
    # A shortcut yields to any full label, so it is tried only alone.
    chosen = [at for at in chosen if at != 2] or [2]
    labels = {SOURCES[at][0]: SOURCES[at][1].format(f"from{at}") for at in chosen}
    assert fields(labels)["web"] == {"scheme": f"from{max(chosen)}"}


@settings(deadline=None)
@given(st.permutations(range(len(SOURCES))))
def test_a_mapping_merges_all_labels_in_any_order(order: list[int]) -> None:
    sources = [
        ("proxy.*", "healthcheck: {a: '*'}"),
        ("proxy.*.healthcheck.b", "*flat"),
        ("proxy.#1", "healthcheck: {c: '#', a: '#'}"),
        ("proxy.#1.healthcheck.d", "#flat"),
        ("proxy.web", "healthcheck: {e: named, b: named}"),
        ("proxy.web.healthcheck.f", "flat"),
        ("proxy.web.healthcheck", "{g: deeper, e: deeper}"),
    ]
    decoded = read(dict(sources[at] for at in order))
    assert {name: value.value for name, value in decoded.find("web").fields["healthcheck"].value.items()} == {
        "a": "#",
        "b": "named",
        "c": "#",
        "d": "#flat",
        "e": "deeper",
        "f": "flat",
        "g": "deeper",
    }


def test_a_deeper_label_beats_a_shallower_one_in_any_form() -> None:
    labels = {
        "proxy.web": "{port: 1, healthcheck: {path: /object, timeout: 9s}}",
        "proxy.web.healthcheck": "{path: /deeper, retries: 2}",
        "proxy.web.healthcheck.retries": "3",
    }
    assert fields(labels)["web"] == {"port": 1, "healthcheck": {"path": "/deeper", "timeout": "9s", "retries": "3"}}


def test_lists_replace_and_null_unsets() -> None:
    labels = {"proxy.*": "{ssl_protocols: [TLSv1.2], port: 80}", "proxy.web": "{ssl_protocols: [TLSv1.3], port: null}"}
    assert fields(labels)["web"] == {"ssl_protocols": ["TLSv1.3"], "port": None}


def test_every_value_has_its_label_and_the_values_it_replaced() -> None:
    decoded = read({"proxy.*.port": "80", "proxy.web": "host: a\nport: 81", "proxy.web.port": "82"})
    port = decoded.find("web").fields["port"]
    assert (port.value, port.source) == ("82", "proxy.web.port")
    assert (decoded.find("web").fields["host"].source, decoded.find("web").fields["host"].line) == ("proxy.web", 1)
    assert [(o.path, o.loser.source, o.winner.source) for o in decoded.find("web").overridden] == [
        ("port", "proxy.*.port", "proxy.web"),
        ("port", "proxy.web", "proxy.web.port"),
    ]


# ---- wildcards ------------------------------------------------------------------------------------------------------


def test_a_wildcard_applies_to_listed_and_to_further_aliases() -> None:
    labels = {"proxy.*.scheme": "https", "proxy.other.port": "81"}
    assert fields(labels, "a", "b") == {
        "a": {"scheme": "https"},
        "b": {"scheme": "https"},
        "other": {"scheme": "https", "port": "81"},
    }


def test_a_multi_line_value_below_a_wildcard_belongs_to_its_field() -> None:
    labels = {"proxy.*.load_balance": "link: shop\nmode: ip_hash\nweight: 2\n"}
    assert fields(labels)["web"] == {"load_balance": {"link": "shop", "mode": "ip_hash", "weight": 2}}


def test_yaml_errors_in_a_wildcard_are_reported_for_every_alias() -> None:
    decoded = read({"proxy.*": "port: [1"}, "a", "b")
    assert list(errors(decoded)) == ["a", "b"]
    assert "not valid YAML" in decoded.find("a").errors[0].problem.message


# ---- object labels --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "   ", "# only a comment\n", "\n\n"])
def test_an_empty_object_label_configures_nothing_but_names_the_alias(text: str) -> None:
    assert fields({"proxy.other": text, "proxy.other.port": "80"}) == {"web": {}, "other": {"port": "80"}}
    assert fields({"proxy.other": text}) == {"web": {}, "other": {}}


def test_leading_tabs_are_two_spaces_in_any_object_label() -> None:
    for key in ("proxy.web", "proxy.*", "proxy.#1"):
        assert fields({key: "healthcheck:\n\tpath: /up\n"})["web"] == {"healthcheck": {"path": "/up"}}
    assert fields({"proxy.web.healthcheck": "\tpath: /up\n\tretries: 1"})["web"]["healthcheck"]["retries"] == 1


@pytest.mark.parametrize(("text", "kind"), [("80", "a number"), ("[a]", "a list"), ("x", "text"), ("null", "null")])
def test_an_object_label_of_a_listed_alias_must_be_a_mapping(text: str, kind: str) -> None:
    assert reported({"proxy.web": text}) == [
        ("proxy.web", f"a mapping is needed here, not {kind}", "write lines such as 'name: value'")
    ]


def test_a_yaml_error_has_its_line_and_column() -> None:
    decoded = read({"proxy.web": "port: 80\nport: 81\n"})
    (error,) = decoded.find("web").errors
    assert (error.problem.label, error.problem.line, error.problem.column) == ("proxy.web", 2, 1)
    assert "duplicate key 'port'" in error.problem.message


def test_an_error_below_a_field_names_the_field() -> None:
    decoded = read({"proxy.web.middlewares": "{a: b: c}"})
    (error,) = decoded.find("web").errors
    assert (error.field, error.problem.path) == ("middlewares", "middlewares")


def test_text_that_is_a_mapping_can_be_extended() -> None:
    labels = {"proxy.web": "port: '{listening: 1}'", "proxy.web.port.proxy": "81"}
    assert fields(labels)["web"] == {"port": {"listening": 1, "proxy": "81"}}


@pytest.mark.parametrize("stronger", ["port: {proxy: 2}", "port: {proxy: 2}\nhost: x"])
def test_text_that_is_a_mapping_merges_with_one(stronger: str) -> None:
    labels = {"proxy.*": "port: '{listening: 1, proxy: 1}'", "proxy.web": stronger}
    assert fields(labels)["web"]["port"] == {"listening": 1, "proxy": 2}
    labels = {"proxy.*": "healthcheck: {path: /a, retries: 1}", "proxy.web": "healthcheck: 'retries: 2'"}
    assert fields(labels)["web"]["healthcheck"] == {"path": "/a", "retries": 2}


# ---- forgotten aliases ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("proxy.port", "write proxy.web.port, or proxy.ports with one value for each alias"),
        ("proxy.host", "write proxy.web.host, or proxy.hosts with one value for each alias"),
        ("proxy.prots", "did you mean 'proxy.ports'?"),
        ("proxy.exlude", "did you mean 'proxy.exclude'?"),
        ("proxy.Exclude", "did you mean 'proxy.exclude'?"),
        ("proxy.idletimeout", "did you mean 'proxy.idle_timeout'?"),
        ("proxy.healthcheck", "a field needs an alias before it: proxy.web.healthcheck"),
    ],
)
def test_a_missing_alias_or_a_mistyped_label_is_reported_and_creates_no_route(key: str, hint: str) -> None:
    decoded = read({key: "8080"})
    assert names(decoded) == ["web"]
    message = "unknown label" if hint.startswith("did") else "a mapping of fields is needed here, not a number"
    assert reported({key: "8080"}) == [(key, message, hint)]


def test_a_further_alias_whose_yaml_is_broken_makes_no_route() -> None:
    decoded = read({"proxy.other": "a: [1"})
    assert names(decoded) == ["web"]
    assert [problem.label for problem in decoded.problems] == ["proxy.other"]


# ---- shortcuts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shortcut", "field"), SHORTCUTS.items())
def test_a_shortcut_spreads_over_the_aliases_in_turn(shortcut: str, field: str) -> None:
    assert fields({f"proxy.{shortcut}": "x, y"}, "a", "b", "c") == {"a": {field: "x"}, "b": {field: "y"}, "c": {}}


def test_surplus_items_are_reported() -> None:
    decoded = read({"proxy.ports": "80 81 82"}, "a", "b")
    assert {mine.alias: bare(mine.fields["port"]) for mine in decoded.routes} == {"a": "80", "b": "81"}
    assert [(problem.label, problem.value) for problem in decoded.problems] == [("proxy.ports", "82")]
    assert "out of range" in decoded.problems[0].message


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("proxy.other.port", "1"),
        ("proxy.#2.port", "1"),
        ("proxy.#9.port", "1"),
        ("proxy.*.port", "1"),
        ("proxy.b.PORT", "1"),
        ("proxy.b", "port: 1"),
        ("proxy.*", "port: 1"),
        ("proxy.$1", "{Port: 1}"),
    ],
)
def test_a_shortcut_yields_to_any_full_label_of_its_field(key: str, text: str) -> None:
    labels = {"proxy.ports": "80,81", key: text}
    assert (
        "proxy.ports",
        f"shortcut conflicts with full label: proxy.ports -> port conflicts with {key}",
        "keep one of them",
    ) in reported(labels, "a", "b")
    decoded = read(labels, "a", "b")
    assert all(value.source != "proxy.ports" for mine in decoded.routes for value in mine.fields.values())


@pytest.mark.parametrize(
    ("key", "text"), [("proxy.b.port.proxy", "1"), ("proxy.b", "healthcheck: {port: 1}"), ("proxy.port", "1")]
)
def test_other_labels_do_not_conflict_with_a_shortcut(key: str, text: str) -> None:
    assert read({"proxy.ports": "80", key: text}, "a").find("a").fields["port"].value == "80"


def test_of_two_shortcuts_for_one_field_the_first_in_their_order_wins() -> None:
    decoded = read({"proxy.schemes": "http", "proxy.protos": "https", "proxy.protocols": "tcp"})
    assert decoded.find("web").fields["scheme"].source == "proxy.protos"
    assert [label for label, _, _ in reported({"proxy.schemes": "http", "proxy.protos": "https"})] == ["proxy.schemes"]


def test_a_refused_shortcut_is_an_error_of_every_alias_because_it_may_have_protected_them() -> None:
    decoded = read({"proxy.binds": "127.0.0.1", "proxy.b.bind": "127.0.0.1"}, "a", "b")
    assert {alias: [error.field for error in mine] for alias, mine in errors(decoded).items()} == {
        "a": ["bind"],
        "b": ["bind"],
    }


# ---- any labels -----------------------------------------------------------------------------------------------------

aliases = st.sampled_from(["web", "WEB", "app", "*", "#1", "$1", "#2", "#9", "#x", "", "x-y"])
key_names = st.sampled_from(
    [*ROUTE.fields, *SHORTCUTS, *CONTAINER_OPTIONS, "bogus", "", "path", "allow", "cidr_whitelist"]
)
keys = st.one_of(
    st.builds(lambda *parts: ".".join(parts), st.just("proxy"), aliases),
    st.builds(lambda *parts: ".".join(parts), st.just("proxy"), key_names),
    st.builds(lambda *parts: ".".join(parts), st.just("proxy"), aliases, key_names),
    st.builds(lambda *parts: ".".join(parts), st.just("proxy"), aliases, key_names, key_names),
    st.builds(lambda *parts: ".".join(parts), st.just("proxy"), aliases, key_names, key_names, key_names),
    st.text(),
)
TEXTS = """80|x|a: 1|port: 80|{port: 80, host: x}|healthcheck: {path: /}|[1, 2]|- a|null|{a: {b: {c: 1}}}|bogus: 1|
	port: 1|a: [|# c|&a {<<: *a}|a,b c|true|5s"""
texts = st.sampled_from(TEXTS.split("|")) | st.text()
label_sets = st.dictionaries(keys, texts, max_size=8)


@more_examples(3)
@given(label_sets, st.sampled_from([("web",), ("web", "app"), ("web", "web", "x")]), st.data())
def test_any_labels_give_a_result_that_does_not_depend_on_their_order(
    labels: dict[str, str], listed: tuple[str, ...], data: st.DataObject
) -> None:
    decoded = read(labels, *listed)
    assert names(decoded)[: len(set(listed))] == list(dict.fromkeys(listed))
    shuffled = dict(data.draw(st.permutations(list(labels.items()))))
    other = read(shuffled, *listed)
    assert decoded == other
    assert [list(mine.fields) for mine in decoded.routes] == [list(mine.fields) for mine in other.routes]


@more_examples(3)
@given(label_sets)
def test_every_problem_names_an_existing_label(labels: dict[str, str]) -> None:
    decoded = read(labels)
    for problem in [*decoded.problems, *(error.problem for mine in decoded.routes for error in mine.errors)]:
        assert problem.label in labels
        assert problem.message
