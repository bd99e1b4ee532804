from __future__ import annotations

from pilotage.policy import Policy, PolicyRule
from pilotage.policy.engines import unknown_engines


def said(*globs: str, place: str = "/etc/my:pilotage.yml:3") -> list[str]:
    policy = Policy(rules=(PolicyRule(number=2, name="team a", place=place, engine=globs), PolicyRule()))
    return [str(problem) for problem in unknown_engines(policy, ["node1", "node2!"])]


def test_a_rule_about_an_engine_that_does_not_exist_is_reported_with_the_nearest_name() -> None:
    (warning,) = said("node3")
    assert warning == (
        "/etc/my:pilotage.yml:3: who.engine: rule 2 'team a' applies to an engine 'node3', but no engine has this "
        "name; did you mean 'node1'?"
    )
    assert said("lab*", place="")[0].endswith("no engine has this name; the engines are node1, node2")


def test_a_glob_that_matches_an_engine_is_in_order() -> None:
    assert said("node1", "node2", "n*", "*") == []
    assert len(said("node1", "node4")) == 1
    assert list(unknown_engines(Policy(), [])) == []
