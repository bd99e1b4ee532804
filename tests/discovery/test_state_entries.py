"""List entries that no engine should send."""

from __future__ import annotations

from typing import Any

import msgspec

from pilotage.testing import container
from tests.discovery.test_state import Watched


def raw(**fields: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"State": "running", "Ports": [{"PrivatePort": 80}], **fields}))


def test_containers_without_an_id_stay_the_same_ones() -> None:
    watched = Watched()
    nameless = [raw(Names=["/a"]), raw(Names=["/a"]), raw(), raw(), msgspec.Raw(b'{"Names": 1}')]
    named = raw(Id="1", Names=["/b"])
    found = []
    for elements in (nameless, [*nameless, named], [named, *nameless], nameless):
        listed = watched.state.diff(elements)
        changes = watched.state.update(listed.changed, fingerprints=listed.fingerprints, present=listed.ids)
        found.append(set(changes))
        assert {"#a", "#a#2", "#", "##2", "##3"} <= set(watched.state.containers)
    assert found[1:] == [{"1"}, set(), {"1"}]


def test_a_container_that_is_listed_twice_does_not_flap() -> None:
    watched = Watched()
    twice = [raw(Id="1", Names=["/a"]), raw(Id="1", Names=["/b"])]
    for number in range(3):
        listed = watched.state.diff(twice)
        changes = watched.state.update(listed.changed, fingerprints=listed.fingerprints, present=listed.ids)
        assert bool(changes) is (number == 0)
    assert watched.state.containers["1"].container_name == "a"


def test_a_list_in_parts_is_the_same_as_the_whole() -> None:
    watched = Watched(*(container(f"app{n}") for n in range(5)))
    raws = [*watched.raws()[1:], raw(), raw(Id="x"), raw()]
    whole, parts = watched.state.diff(raws), watched.state.diff(raws[:4])
    assert watched.state.diff(raws[4:], parts) == whole
