from __future__ import annotations

import pytest

from pilotage.core.problems import Problem
from pilotage.output.correction import LabelCorrection, correction_of
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


def corrections(labels: dict[str, str]) -> list[tuple[str, str | None, str]]:
    found: dict[LabelCorrection, None] = {}
    for built in engine_snapshot([one("web", labels)]).built:
        for problem in {*built.problems, *(it for route in built.routes for it in route.problems)}:
            if (correction := correction_of(problem, labels)) is not None:
                found[correction] = None
    return [(it.label, it.value, it.line) for it in found]


@pytest.mark.parametrize(("labels", "line"), CASES)
def test_the_corrected_label_has_no_problem_any_more(labels: dict[str, str], line: str) -> None:
    ((label, value, shown),) = corrections(labels)
    assert shown == line
    assert value is not None
    assert corrections({label: value}) == []


def test_a_value_with_a_secret_is_not_shown() -> None:
    assert corrections({"proxy.web.middlewares": OIDC}) == [("proxy.web.middlewares", None, "")]
    assert corrections({"proxy.web.midlewares.oidc.client_secret": "s3cret"}) in (
        [],
        [("proxy.web.middlewares.oidc.client_secret", None, "")],
    )


@pytest.mark.parametrize(
    "problem",
    [
        Problem(message="wrong", hint="write true or false", label="proxy.web.show"),
        Problem(message="wrong", hint="did you mean 'scheme'?", label="proxy.other.sheme", path="sheme"),
        Problem(message="wrong", hint="did you mean 'scheme'?", label="proxy.web", path="sheme", line=9, column=1),
        Problem(message="wrong", hint="did you mean 'scheme'?", label="proxy.web", path="sheme", line=1, column=6),
    ],
)
def test_without_a_word_to_replace_there_is_no_correction(problem: Problem) -> None:
    assert correction_of(problem, {"proxy.web.show": "2", "proxy.web": "port: 80"}) is None
