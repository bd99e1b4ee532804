"""What a decoder says about labels that name no alias."""

from __future__ import annotations

import pytest

from pilotage.core.yaml import bare
from pilotage.labels.decode import DecodedLabels, decode
from pilotage.labels.keys import filter_labels
from pilotage.routes.schema import ROUTE_KEYS
from tests.labels.test_decode import errors, names, reported


def read(labels: dict[str, str], *aliases: str) -> DecodedLabels:
    return decode(filter_labels(labels), aliases, ROUTE_KEYS)


def test_a_refused_shortcut_does_not_affect_the_next_ones() -> None:
    (web,) = read({"proxy.ports": "80", "proxy.web.port": "81", "proxy.hosts": "nas"}, "web").routes
    assert bare(web.fields["host"]) == "nas"
    assert [error.field for error in web.errors] == ["port"]


def test_an_alias_may_have_the_name_of_a_shortcut() -> None:
    web, ports = read({"proxy.ports.host": "nas", "proxy.ports": "81"}, "web").routes
    assert (web.alias, bare(web.fields["port"]), ports.alias) == ("web", "81", "ports")
    assert {name: bare(value) for name, value in ports.fields.items()} == {"host": "nas"}


@pytest.mark.parametrize("field", ["no_tls_verify", "notlsverify"])
def test_a_field_without_an_alias_is_reported_with_both_ways_to_write_it(field: str) -> None:
    (web,) = read({f"proxy.{field}": "true"}, "web").routes
    (problem,) = (error.problem for error in web.errors)
    assert (problem.label, problem.value) == (f"proxy.{field}", "true")
    assert problem.hint == f"write proxy.web.{field}, or proxy.no_tls_verifies with one value for each alias"


def test_a_protective_field_without_its_alias_protects_every_alias_and_is_no_alias() -> None:
    forgotten = {"proxy.middlewares.redirect_http": ""}
    assert names(read(forgotten, "a", "b")) == ["a", "b"]
    assert [[error.protective for error in found] for found in errors(read(forgotten, "a", "b")).values()] == [
        [True],
        [True],
    ]
    assert reported(forgotten, "a") == [
        (
            "proxy.middlewares.redirect_http",
            "middlewares is a field, and the alias before it is missing",
            "write proxy.a.middlewares, or proxy.*.middlewares for all aliases",
        )
    ]
    assert reported(forgotten | {"proxy.*.port": "80"}, "a") == reported(forgotten, "a")
    assert names(read(forgotten, "a", "middlewares")) == ["a", "middlewares"]
    assert errors(read(forgotten, "a", "middlewares")) == {}


@pytest.mark.parametrize("word", ["enable", "Enabled", "en_abled", "disable", "disabled", "exclud"])
def test_words_of_other_proxies_lead_to_the_option(word: str) -> None:
    ((label, _, hint),) = reported({f"proxy.{word}": "true"})
    assert (label, hint) == (f"proxy.{word}", "did you mean 'proxy.exclude'?")
