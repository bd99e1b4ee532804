from __future__ import annotations

import msgspec
import pytest

from pilotage.engine import types as wire
from tests.support.defaults import filled_by_default


def test_a_list_is_split_without_being_decoded() -> None:
    one, two = wire.split_list(b'[{"Id": "a", "Odd": {"x": [1]}}, {"Id": "b"}]')
    assert bytes(one) == b'{"Id": "a", "Odd": {"x": [1]}}'
    assert msgspec.json.decode(two, type=wire.Summary).Id == "b"


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b'[{"Id": ]', b"<html>"])
def test_a_body_that_is_not_a_list_is_an_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.split_list(body)


def test_missing_and_null_fields_are_accepted() -> None:
    nulls = {"Names": None, "Labels": None, "Ports": None, "NetworkSettings": {"Networks": None}, "HostConfig": None}
    found = msgspec.json.decode(msgspec.json.encode(nulls), type=wire.Summary)
    assert found.NetworkSettings is not None
    assert found.NetworkSettings.Networks is None
    assert msgspec.json.decode(b"{}", type=wire.Summary) == wire.Summary()
    assert msgspec.json.decode(b"{}", type=wire.Inspect) == wire.Inspect()


@pytest.mark.parametrize(
    "kind", [it for it in vars(wire).values() if isinstance(it, type) and issubclass(it, msgspec.Struct)]
)
def test_a_missing_field_reads_as_empty_and_a_missing_protocol_as_tcp(kind: type[msgspec.Struct]) -> None:
    found = msgspec.structs.asdict(msgspec.json.decode(b"{}", type=kind))
    protocols = {"Type": "tcp"} if kind is wire.Port else {"Protocol": "tcp"} if kind is wire.ServicePort else {}
    assert {name: value for name, value in found.items() if value} == protocols


def test_events_are_read_by_their_actor_and_their_old_fields_are_not() -> None:
    line = b'{"status":"start","id":"old","Type":"container","Action":"start","Actor":{"ID":"new"},"timeNano":5}'
    event = msgspec.json.decode(line, type=wire.Event)
    assert event == wire.Event("container", "start", wire.Actor("new"), 5)
    assert "old" not in repr(event)


def test_the_environment_of_a_container_is_never_kept() -> None:
    body = b'{"Id":"a","Config":{"Env":["PASSWORD=secret"],"ExposedPorts":{"80/tcp":{}}}}'
    assert "secret" not in repr(msgspec.json.decode(body, type=wire.Inspect))


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("engine") == {
        "AgentInfo.runtime": "docker",
        "AgentInfo.tunnels": True,
        "TLSFiles.verify": True,
        "Timeouts.connect": 5.0,
        "Timeouts.request": 30.0,
        "Port.Type": "tcp",
        "ServicePort.Protocol": "tcp",
        "Certificate.for_clients": True,
    }
