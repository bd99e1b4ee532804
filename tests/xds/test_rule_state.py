from __future__ import annotations

from pilotage.xds.rule_state import Outcome, State


def test_rules_begin_with_requests_that_nothing_has_changed() -> None:
    assert State().outcome == Outcome()
    assert not (State().matched or State().ended or State().changes.headers or State().changes.rewrite)
