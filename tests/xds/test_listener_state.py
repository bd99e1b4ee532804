from __future__ import annotations

import pytest

from pilotage.xds.listener_state import ListenerState
from pilotage.xds.options import GatewayOptions
from pilotage.xds.resources import SECRET
from pilotage.xds.self_signed import self_signed


@pytest.mark.parametrize(
    ("options", "answers"),
    [
        (GatewayOptions(), False),
        (GatewayOptions(automatic_certificates=True), True),
        (GatewayOptions(automatic_certificates=True, http_port=0), False),
    ],
)
def test_only_a_plain_listener_answers_http_challenges(options: GatewayOptions, answers: bool) -> None:
    state = ListenerState()
    assert (state.http_key in state.changes(options, [])) is answers


def test_secrets_that_are_no_longer_needed_are_removed() -> None:
    options, state = GatewayOptions(automatic_certificates=True, https_port=443), ListenerState()
    state.tls_challenges["a.x"] = self_signed("a.x")
    present = [key for key, item in state.changes(options, []).items() if item is not None]
    assert (SECRET, "acme/a.x") in present
    state.tls_challenges.clear()
    gone = {key for key, item in state.changes(options, [*present, (SECRET, "certificate/0")]).items() if item is None}
    assert gone == {(SECRET, "acme/a.x")}
