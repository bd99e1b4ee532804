from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage.discovery.fingerprints import Fingerprint, Fingerprints


def raw(**fields: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"Id": "1", "State": "running", **fields}))


def compare(found: Fingerprints, entry: msgspec.Raw) -> tuple[str, Fingerprint, bool]:
    """What :class:`EngineState` does with an entry."""
    ((number, container_id),) = found.find([entry])
    return (container_id, (0, number), True) if container_id else found.compare(entry, number)


def known(entry: msgspec.Raw) -> Fingerprints:
    found = Fingerprints()
    container_id, fingerprint, is_same = compare(found, entry)
    assert not is_same
    found.remember(container_id, fingerprint)
    return found


def test_the_same_bytes_are_the_same_container() -> None:
    found = known(raw(Image="a"))
    assert [compare(found, raw(Image="a"))[2] for _ in range(3)] == [True, True, True]


@pytest.mark.parametrize("field", ["Ports", "Mounts"])
def test_the_order_of_ports_and_mounts_does_not_matter(field: str) -> None:
    found = known(raw(**{field: [{"a": 1}, {"b": 2}]}))
    assert compare(found, raw(**{field: [{"b": 2}, {"a": 1}]}))[2]
    assert not compare(found, raw(**{field: [{"b": 2}, {"a": 2}]}))[2]


def test_the_second_list_is_compared_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = known(raw(Image="a"))
    monkeypatch.setattr("pilotage.discovery.fingerprints._fingerprint", None)
    assert compare(found, raw(Image="a"))[2]


def test_an_entry_that_was_replaced_is_not_known_any_more() -> None:
    found = known(raw(Image="a"))
    assert compare(found, raw(Image="a"))[2]
    _, fingerprint, is_same = compare(found, raw(Image="b"))
    assert not is_same
    found.remember("1", fingerprint)
    assert not compare(found, raw(Image="a"))[2]


def test_a_forgotten_container_leaves_nothing() -> None:
    found = known(raw())
    assert len(found) == 3
    found.forget("1")
    assert (len(found), compare(found, raw())[2]) == (0, False)


def test_entries_are_compared_by_their_bytes_once_each_order_has_been_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [{"PrivatePort": number} for number in range(8)]
    orders = [raw(Ports=ports[start:] + ports[:start]) for start in range(8)]
    found = known(orders[0])
    assert all(compare(found, entry)[2] for entry in orders)
    monkeypatch.setattr("pilotage.discovery.fingerprints._fingerprint", None)
    assert all(compare(found, entry)[2] for entry in orders)


def test_an_entry_that_always_differs_takes_no_more_memory_each_time() -> None:
    found = known(raw())
    for number in range(30):
        assert compare(found, raw(Status=f"Up {number} seconds"))[2]
    assert len(found) == 2 + 8
    found.forget("1")
    assert not len(found)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"Id": 1}', b'{"Id": "1", "Ports": {}}'])
def test_an_unreadable_entry_has_no_id(body: bytes) -> None:
    assert compare(Fingerprints(), msgspec.Raw(body)) == ("", (0, hash(body)), False)


def test_bytes_that_are_known_already_take_no_more_memory() -> None:
    found = known(raw())
    ((number, _),) = found.find([raw()])
    assert found.compare(raw(), number)[2]
    assert len(found) == 3
