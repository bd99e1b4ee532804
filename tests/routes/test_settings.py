from __future__ import annotations

import pytest

from pilotage.core.budget import MAX_PROBLEMS, container_budget
from pilotage.labels.decode import decode
from pilotage.labels.keys import filter_labels
from pilotage.labels.merge import AliasFields
from pilotage.routes.access_log import FieldFilter
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import ROUTE_KEYS, RouteSettings
from pilotage.routes.settings import NO_SETTINGS, AliasSettings, read_all_settings, read_settings
from tests.support.defaults import filled_by_default


def read(labels: dict[str, str]) -> AliasSettings:
    return read_settings(decode(filter_labels(labels), ("web",), ROUTE_KEYS).find("web"))


def test_without_labels_all_settings_are_defaults() -> None:
    assert read_settings(AliasFields("web")) is NO_SETTINGS
    assert AliasSettings(RouteSettings()) == NO_SETTINGS


def test_settings_hold_the_values_and_the_names_of_the_fields_that_are_set() -> None:
    found = read({"proxy.web.port": "8080", "proxy.web.scheme": "https"})
    assert (found.settings.port, found.settings.scheme) == (PortPair(0, 8080), "https")
    assert found.labelled == ("port", "scheme")
    assert (found.problems, found.refused, found.is_plain) == ((), False, True)


def test_an_error_leaves_the_default_and_one_in_a_protective_field_refuses_the_route() -> None:
    found = read({"proxy.web.hold": "soon", "proxy.web.port": "80"})
    assert (found.settings.hold, found.refused, len(found.problems), found.is_plain) == (0.0, False, 1, False)
    assert read({"proxy.web.bind": "eth0"}).refused
    assert read({"proxy.web": "middlewares: ["}).refused


@pytest.mark.parametrize(
    ("labels", "judged"),
    [
        ({"proxy.web.tls_termination": "true"}, {"tls_termination"}),
        ({"proxy.web.scheme": "fileserver", "proxy.web.root": "www"}, {"scheme", "root"}),
        ({"proxy.web.healthcheck.disable": "true"}, {"healthcheck"}),
    ],
)
def test_fields_that_only_some_targets_allow_keep_their_place(labels: dict[str, str], judged: set[str]) -> None:
    found = read(labels)
    assert found.judged_later.keys() == judged
    assert not found.is_plain


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("routes") == {
        "_List.usable": True,
        "FieldFilter.default": "drop",
        "LoggedFields.query": FieldFilter(default="keep"),
        "AccessLog.format": "combined",
        "RouteFile.is_whole": True,
        "Gate.page": True,
        "OidcDefaults.session_seconds": 86_400.0,
        "Gate.patience": 1200.0,
        "Endpoint.state": "ready",
        "Route.scheme": "http",
        "HealthCheck.path": "/",
        "HealthCheck.interval": 5.0,
        "HealthCheck.timeout": 5.0,
        "Homepage.show": True,
        "HomepageJson.show": True,
        "RouteSettings.index": "/index.html",
    }


def test_a_field_that_several_aliases_inherit_is_read_once() -> None:
    labels = {"proxy.*.hold": "soon", "proxy.a.port": "80", "proxy.b.port": "81"}
    budget = container_budget()
    found = read_all_settings(decode(filter_labels(labels), ("a", "b"), ROUTE_KEYS).routes, budget)
    assert [settings.settings.port.proxy for settings in found] == [80, 81]
    assert [len(settings.problems) for settings in found] == [1, 1]
    assert budget.problems == MAX_PROBLEMS - 1


def test_aliases_with_the_same_fields_do_not_share_errors() -> None:
    labels = {"proxy.*.port": "80", f"proxy.a.{'x' * 1100}": "1"}
    a, b = read_all_settings(decode(filter_labels(labels), ("a", "b"), ROUTE_KEYS).routes, container_budget())
    assert a.settings == b.settings
    assert [problem.message for problem in a.problems] == [
        "the label key has more than 1,024 characters, so it has no effect"
    ]
    assert b.problems == ()


def test_aliases_with_the_same_labels_share_their_settings() -> None:
    decoded = decode(filter_labels({"proxy.*.port": "80", "proxy.c.port": "81"}), ("a", "b", "c"), ROUTE_KEYS)
    first, second, third = read_all_settings(decoded.routes, container_budget())
    assert first is second
    assert third is not first
    assert third.settings.port.proxy == 81


@pytest.mark.parametrize(
    ("labels", "place", "message", "hint"),
    [
        (
            {"proxy.web.rules": "path /a { pass }", "proxy.web.rule_file": "/r.yml"},
            "rule_file",
            "rules and rule_file exclude each other",
            "keep one of them",
        ),
        (
            {"proxy.web.ssl_certificate": "/c"},
            "ssl_certificate",
            "ssl_certificate_key is required when ssl_certificate is specified",
            "",
        ),
        (
            {"proxy.web.ssl_certificate_key": "/k"},
            "ssl_certificate_key",
            "ssl_certificate is required when ssl_certificate_key is specified",
            "",
        ),
    ],
)
def test_fields_that_exclude_or_need_each_other_refuse_the_route(
    labels: dict[str, str], place: str, message: str, hint: str
) -> None:
    found = read(labels)
    (problem,) = found.problems
    assert (found.refused, problem.path, problem.label) == (True, place, f"proxy.web.{place}")
    assert (problem.message, problem.hint) == (message, hint)
