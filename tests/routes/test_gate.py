"""Whether the requests of a route pass."""

from __future__ import annotations

from pilotage.routes.gate import Gate


def test_gates_are_values() -> None:
    assert Gate(7, "open") == Gate(7, "open")
    assert Gate(7, "open") != Gate(7, "closed")
    assert Gate(7, "closed").page
