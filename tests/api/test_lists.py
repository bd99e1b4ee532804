from __future__ import annotations

import msgspec

from pilotage.api import lists


def test_lists_keep_the_names_that_clients_know() -> None:
    found = {name: getattr(lists, name).__struct_fields__ for name in lists.__all__}
    assert found == {
        "ContainerList": ("containers",),
        "EngineList": ("engines",),
        "EnvoyList": ("version", "envoys", "routes"),
        "ProblemList": ("problems",),
        "SleepList": ("units",),
        "TrafficList": ("routes",),
    }
    assert msgspec.json.encode(lists.ProblemList([])) == b'{"problems":[]}'
