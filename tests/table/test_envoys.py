from __future__ import annotations

from pilotage.table.envoys import EnvoyState, joined

EDGE = EnvoyState(node="edge", connected=True, since=5.0, lag=12.0, silent=True, version=3, waiting=1)


def test_a_silent_envoy_is_a_problem_and_one_that_answers_is_none() -> None:
    problem = EDGE.problem
    assert problem is not None
    assert problem.message.startswith("Envoy edge has not acknowledged its configuration for more than 10 s")
    assert "other Envoys are not affected" in problem.message
    assert problem.hint
    assert EnvoyState(node="edge", connected=True, since=5.0, lag=2.0).problem is None


def test_an_envoy_that_was_disconnected_while_silent_stays_a_problem() -> None:
    problem = EnvoyState(node="edge", connected=False, since=5.0, silent=True).problem
    assert problem is not None
    assert "was disconnected" in problem.message


def test_of_two_envoys_with_one_node_id_the_worse_state_is_reported() -> None:
    other = EnvoyState(node="edge", connected=True, since=9.0, version=8, rejected=2)
    assert joined(EDGE, other) == joined(other, EDGE)
    assert joined(EDGE, other) == EnvoyState(
        node="edge", connected=True, since=9.0, lag=12.0, silent=True, version=3, waiting=1, rejected=2
    )
