from __future__ import annotations

from pilotage.core.problems import Problem
from pilotage.dashboard.problems import shown_problem
from pilotage.output.corrections import LabelCorrection


def test_a_problem_leads_to_its_route_and_to_the_label_to_write() -> None:
    problem = Problem(
        message="unknown field", hint="did you mean 'scheme'?", provider="local", container="web", route="web",
        label="proxy.web.sheme", path="sheme", value="<hidden>",
    )  # fmt: skip
    found = shown_problem(problem, LabelCorrection("proxy.web.scheme", "https", 'proxy.web.scheme: "https"'))
    assert (found.about, found.path, found.value) == ("web", "/routes/web", "")
    assert found.corrected == 'proxy.web.scheme: "https"'
    assert found.place == "local/web: proxy.web.sheme"


def test_a_value_that_is_in_the_message_is_not_repeated() -> None:
    assert shown_problem(Problem(message="'7' is not a network", value="7")).value == ""


def test_a_problem_of_the_configuration_leads_nowhere() -> None:
    found = shown_problem(Problem(message="odd", file="pilotage.yml", line=3, value="x"))
    assert (found.about, found.path, found.corrected, found.value, found.place) == ("", "", "", "x", "pilotage.yml:3")
