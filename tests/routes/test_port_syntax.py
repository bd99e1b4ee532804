from __future__ import annotations

from typing import Any

import pytest

from pilotage.routes.fields import UNSET
from pilotage.routes.port_syntax import Port, PortPair
from tests.support.field_values import read, read_yaml, reported

RANGE = "a port is a number from 1 to 65535, or 0 for automatic"


@pytest.mark.parametrize(
    ("text", "listening", "proxy"),
    [
        ("80", 0, 80),
        (80, 0, 80),
        (":80", 0, 80),
        ("2222:22", 2222, 22),
        ("0", 0, 0),
        ("65535", 0, 65535),
        ("+80", 0, 80),
        ("080", 0, 80),
        ("2222:0", 2222, 0),
    ],
)
def test_ports_are_one_number_or_two(text: str | int, listening: int, proxy: int) -> None:
    found, context = read(Port(), text)
    assert (found, reported(context)) == (PortPair(listening, proxy), [])


@pytest.mark.parametrize("text", [None, ""])
def test_an_unset_port_is_automatic(text: str | None) -> None:
    found, context = read(Port(), text)
    assert (found, reported(context)) == (UNSET, [])


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("65536", "port 65536 is out of range", RANGE),
        ("x", "'x' is not a port number", RANGE),
        ("80:", "'' in '80:' is not a port number", RANGE),
        ("x:80", "'x' in 'x:80' is not a port number", RANGE),
        ("20000:dns", "'dns' in '20000:dns' is not a port number", RANGE),
        ("1:2:3", "'1:2:3': too many colons; write [listening:]target", ""),
        (" 80", "' 80' is not a port number", RANGE),
        ("9" * 5000, f"'{'9' * 59}…' is not a port number", RANGE),
        (80.5, "80.5 is not a port", ""),
        (True, "true is not a port", ""),
    ],
)
def test_a_bad_port_is_reported_and_ignored(text: Any, message: str, hint: str) -> None:
    found, context = read(Port(), text)
    assert reported(context) == [("field", message, hint)]
    assert found is UNSET
    assert not context.refused


def test_a_negative_port_takes_the_route_out_of_service() -> None:
    found, context = read(Port(), "-1")
    assert (found, context.refused) == (UNSET, True)


def test_ports_may_be_a_mapping() -> None:
    found, context = read_yaml(Port(), "listening: 2222\nproxy: '22'\n")
    assert (found, reported(context)) == (PortPair(2222, 22), [])
    found, context = read_yaml(Port(), "listning: 2222\nproxy: x\n")
    assert found is UNSET
    assert reported(context) == [
        ("field.listning", "unknown field", "did you mean 'listening'?"),
        ("field.proxy", "'x' is not a port number", RANGE),
    ]
    assert reported(read_yaml(Port(), "zzz: 1")[1]) == [("field.zzz", "unknown field", "listening or proxy")]


def test_one_bad_half_of_a_mapping_leaves_no_half_in_force() -> None:
    found, context = read_yaml(Port(), "listening: 20000\nproxy: [53]\n")
    assert (found, reported(context)) == (UNSET, [("field.proxy", "a list is not a port", "")])


def test_ports_are_written_as_a_mapping() -> None:
    assert Port().dump("port", PortPair(1, 2)) == ("port", {"listening": 1, "proxy": 2})


def test_a_list_is_no_port() -> None:
    found, context = read_yaml(Port(), "[80]")
    assert (found, reported(context)) == (UNSET, [("field", "a list is not a port", "")])
