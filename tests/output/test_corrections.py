from __future__ import annotations

import pytest

from pilotage import DockerProviderConfig, build_routes, from_docker
from pilotage.core.problems import Problem
from pilotage.output.corrections import LabelCorrection, corrected_label, correction_of
from tests.support.example_engine import engine_snapshot, one

OIDC = "oidcc:\n  client_secret: s3cret\n"
CASES = [
    ({"proxy.web.sheme": "http"}, 'proxy.web.scheme: "http"'),
    ({"proxy.web": "port: 80\nhealthcheck:\n  retrys: 3"}, 'proxy.web: "port: 80\\nhealthcheck:\\n  retries: 3"'),
    ({"proxy.web.homepage.nme": "5 $ shop"}, 'proxy.web.homepage.name: "5 $$ shop"'),
    ({"prxy.web.port": "80"}, 'proxy.web.port: "80"'),
    ({"proxy.web.scheme": "htps"}, 'proxy.web.scheme: "https"'),
    ({"proxy.web": "'shceme': http"}, "proxy.web: \"'scheme': http\""),
    ({"proxy.web.middlewares.redirecthtp": ""}, 'proxy.web.middlewares.redirect_http: ""'),
    ({"proxy.web.exclude": "true"}, 'proxy.exclude: "true"'),
    ({"proxy.alias": "web"}, 'proxy.aliases: "web"'),
    ({"proxy.network": "brige"}, 'proxy.network: "bridge"'),
]


def corrections_of(labels: dict[str, str]) -> list[tuple[str, str | None, str]]:
    found: dict[LabelCorrection, None] = {}
    for built in engine_snapshot([one("web", labels)]).built:
        for problem in {*built.problems, *(it for route in built.routes for it in route.problems)}:
            if (correction := correction_of(problem, labels)) is not None:
                found[correction] = None
    return [(it.label, it.value, it.line) for it in found]


@pytest.mark.parametrize(("labels", "line"), CASES)
def test_the_corrected_label_has_no_problem_any_more(labels: dict[str, str], line: str) -> None:
    ((label, value, shown),) = corrections_of(labels)
    assert shown == line
    assert value is not None
    assert corrections_of({label: value}) == []


def test_a_value_with_a_secret_is_not_shown() -> None:
    assert corrections_of({"proxy.web.middlewares": OIDC}) == [("proxy.web.middlewares", None, "")]
    key = "proxy.web.midlewares.oidc.client_secret"
    assert corrections_of({key: "s3cret"}) == [("proxy.web.middlewares.oidc.client_secret", None, "")]


@pytest.mark.parametrize(
    "problem",
    [
        Problem(message="wrong", hint="write true or false", label="proxy.web.show"),
        Problem(message="wrong", hint="did you mean 'scheme'?", file="a.yml", path="sheme"),
        Problem(message="wrong", hint="did you mean 'scheme'?", label="proxy.web", path="sheme", line=9, column=1),
        Problem(message="wrong", hint="did you mean 'scheme'?", label="proxy.web", path="sheme", line=1, column=6),
    ],
)
def test_without_a_word_to_replace_there_is_no_correction(problem: Problem) -> None:
    assert correction_of(problem, {"proxy.web.show": "2", "proxy.web": "port: 80"}) is None


def corrections(**labels: str) -> list[tuple[str, str] | None]:
    """Return the corrections of the problems with a container's labels; ``__`` in a name is a dot."""
    given = {f"proxy.{name.replace('__', '.')}": value for name, value in labels.items()}
    summary = {"Id": "1" * 64, "Names": ["/web"], "State": "running", "Labels": given}
    built = build_routes(from_docker(summary, DockerProviderConfig("unix:///run/docker.sock")))
    return [corrected_label(problem) for problem in built.problems]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"web__sheme": "http"}, ("proxy.web.scheme", "")),
        ({"web": "port: 80\nsheme: http"}, ("proxy.web.scheme", "")),
        ({"web__scheme": "htp"}, ("proxy.web.scheme", "http")),
        ({"web": "scheme: htp"}, ("proxy.web.scheme", "http")),
        ({"web__healthcheck": "{pth: /up}"}, ("proxy.web.healthcheck.path", "")),
        ({"web__healthcheck__pth": "/up"}, ("proxy.web.healthcheck.path", "")),
        ({"web__exclude": "true"}, ("proxy.exclude", "")),
        ({"web__midlewares__oidc__scopes": "a"}, ("proxy.web.middlewares.oidc.scopes", "")),
    ],
)
def test_a_suggestion_becomes_the_label_to_write(labels: dict[str, str], expected: tuple[str, str]) -> None:
    assert [found for found in corrections(**labels) if found is not None] == [expected]


@pytest.mark.parametrize(
    "problem",
    [
        Problem(message="unknown field", hint="did you mean 'scheme'?", file="routes.yml", path="sheme"),
        Problem(message="is not a port", hint="write one such as 80", label="proxy.web.port", path="port"),
        Problem(message="odd", hint="did you mean 'a'?", label="proxy.web.rules", path="rules[0].on"),
    ],
)
def test_without_a_suggestion_for_a_label_there_is_no_correction(problem: Problem) -> None:
    assert corrected_label(problem) is None


def test_without_the_text_of_the_label_the_problem_alone_says_what_to_write() -> None:
    hint = "did you mean 'https'?"
    wrong = Problem(message="wrong", hint=hint, label="proxy.web.scheme", path="scheme")
    assert correction_of(wrong) == LabelCorrection("proxy.web.scheme", "https", 'proxy.web.scheme: "https"')
    unknown = Problem(message="unknown field", hint="did you mean 'scheme'?", label="proxy.web.sheme", path="sheme")
    assert correction_of(unknown) == LabelCorrection("proxy.web.scheme", None, "")
