from __future__ import annotations

import pytest

from pilotage.core.pacing import pause_between_attempts


@pytest.mark.parametrize(
    ("waited", "servers", "pause"),
    [(0, 1, 0.01), (10, 1, 0.01), (30, 1, 0.03), (900, 1, 0.5), (0, 4, 0.02), (0, 1000, 0.5), (30, 4, 0.03)],
)
def test_a_pause_grows_with_the_time_and_the_number_of_servers(waited: float, servers: int, pause: float) -> None:
    assert pause_between_attempts(waited, servers) == pytest.approx(pause)
