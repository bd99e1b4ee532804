from __future__ import annotations

from pilotage.xds.literals import literal


def test_a_percent_sign_is_doubled_so_that_envoy_expands_nothing() -> None:
    assert literal("50% of %REQ(:PATH)%") == "50%% of %%REQ(:PATH)%%"
