from __future__ import annotations

import pytest

from pilotage import DockerProviderConfig, build_routes, from_docker
from pilotage.core.problems import Problem
from pilotage.output.corrections import corrected_label


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
