from __future__ import annotations

import pytest

from pilotage.xds.listener_state import ListenerState
from pilotage.xds.options import GatewayOptions


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
    assert (state.http_key in state.changes(options)) is answers
