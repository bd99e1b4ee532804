from __future__ import annotations

from pilotage.table.traffic import RouteTraffic


def test_a_route_without_requests_has_no_durations() -> None:
    assert RouteTraffic() == RouteTraffic(requests=0, errors=0, in_progress=0, measured=0, duration_sum=0, durations={})
