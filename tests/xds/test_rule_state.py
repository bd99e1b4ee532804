from __future__ import annotations

from pilotage.xds.rule_state import Outcome, State
from pilotage.xds.rule_tests import Changes


def test_rules_begin_with_requests_that_nothing_has_changed() -> None:
    assert State().outcome == Outcome()
    assert State().changes == Changes()
