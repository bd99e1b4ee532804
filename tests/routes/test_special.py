from __future__ import annotations

from typing import Any

import pytest

from pilotage.core.yaml import Located, parse_yaml
from pilotage.routes.fields import UNSET, Kind, Reading
from pilotage.routes.special import (
    MIDDLEWARES,
    Icon,
    Middlewares,
    Port,
    PortPair,
    Retention,
    Rules,
    StatusRange,
    middleware_name,
)


def read(kind: Kind, text: Any) -> tuple[Any, Reading]:
    to = Reading(path="field")
    return kind.read(Located(text, "label"), to), to


def read_yaml(kind: Kind, text: str) -> tuple[Any, Reading]:
    to = Reading(path="field")
    document = parse_yaml(text, "label")
    assert document is not None
    return kind.read(document, to), to


def told(to: Reading) -> list[tuple[str, str, str]]:
    return [(problem.path, problem.message, problem.hint) for problem in to.problems]


# ---- ports ----------------------------------------------------------------------------------------------------------

RANGE = "a port is a number from 1 to 65535; 0 is automatic"


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
    found, to = read(Port(), text)
    assert (found, told(to)) == (PortPair(listening, proxy), [])


@pytest.mark.parametrize("text", [None, ""])
def test_no_port_is_automatic(text: str | None) -> None:
    found, to = read(Port(), text)
    assert (found, told(to)) == (UNSET, [])


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("65536", "port 65536 is out of range", RANGE),
        ("x", "'x' is not a port number", RANGE),
        ("80:", "'' in '80:' is not a port number", RANGE),
        ("x:80", "'x' in 'x:80' is not a port number", RANGE),
        ("1:2:3", "'1:2:3': too many colons; write [listening:]target", ""),
        (" 80", "' 80' is not a port number", RANGE),
        ("9" * 5000, f"'{'9' * 59}…' is not a port number", RANGE),
        (80.5, "80.5 is not a port", ""),
        (True, "true is not a port", ""),
    ],
)
def test_a_bad_port_is_told_and_does_not_stay(text: Any, message: str, hint: str) -> None:
    found, to = read(Port(), text)
    assert told(to) == [("field", message, hint)]
    assert found is UNSET or found.proxy in (0, 80)
    assert not to.fatal


def test_a_negative_port_takes_the_route_out_of_service() -> None:
    found, to = read(Port(), "-1")
    assert (found, to.fatal) == (PortPair(), True)


def test_ports_may_be_a_mapping() -> None:
    found, to = read_yaml(Port(), "listening: 2222\nproxy: '22'\n")
    assert (found, told(to)) == (PortPair(2222, 22), [])
    found, to = read_yaml(Port(), "listning: 2222\nproxy: x\n")
    assert found == PortPair()
    assert told(to) == [
        ("field.listning", "unknown field", "did you mean 'listening'?"),
        ("field.proxy", "'x' is not a port number", RANGE),
    ]


def test_ports_are_written_as_a_mapping() -> None:
    assert Port().dump("port", PortPair(1, 2)) == ("port", {"listening": 1, "proxy": 2})


# ---- middlewares ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(MIDDLEWARES.values())))
def test_a_middleware_is_known_in_any_spelling(name: str) -> None:
    assert middleware_name(name) == middleware_name(name.upper().replace("_", "")) == name
    assert middleware_name(name + "x") is None


def test_options_are_kept_as_they_are_written() -> None:
    found, to = read_yaml(Middlewares(), "Set_X_Forwarded:\nrequest: {set_headers: {X-A: '1'}}\n")
    assert found == {"Set_X_Forwarded": None, "request": {"set_headers": {"X-A": "1"}}}
    assert told(to) == []


def test_text_is_read_as_yaml() -> None:
    found, to = read(Middlewares(), "cidr_whitelist:\n  allow: 10.0.0.0/8, fd00::/8\n")
    assert (found, told(to)) == ({"cidr_whitelist": {"allow": "10.0.0.0/8, fd00::/8"}}, [])


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "cidr_whitlist: {allow: 10.0.0.1}",
            [("field.cidr_whitlist", "unknown middleware", "did you mean 'cidr_whitelist'?")],
        ),
        (
            "my@file: {}",
            [("field.my@file", "middlewares from files are known to GoDoxy, not supported by pilotage", "")],
        ),
        ("{real_ip: , RealIP: }", [("field.RealIP", "RealIP and real_ip are the same middleware", "keep one")]),
        ("real_ip: 5", [("field.real_ip", "5 is not a mapping", "write lines such as 'name: value'")]),
        (
            "cidr_whitelist: {}",
            [("field.cidr_whitelist", "allow needs at least one network", "write allow: [10.0.0.0/8]")],
        ),
        (
            "cidr_whitelist: {allow: [10.0.0.0/8, 10.0.0.300]}",
            [("field.cidr_whitelist.allow", "'10.0.0.300' is not a network", "write one such as 10.0.0.0/8")],
        ),
        ("rate_limit: {average: 0}", [("field.rate_limit.average", "'0' is not a whole number of at least 1", "")]),
        ("rate_limit: {burst: x}", [("field.rate_limit.burst", "'x' is not a whole number of at least 1", "")]),
        ("rate_limit: {period: 10ms}", [("field.rate_limit.period", "the period is too short; at least 1s", "")]),
        (
            "rate_limit: {period: soon}",
            [("field.rate_limit.period", "not a duration; write a number with a unit, such as 30s, 5m or 1h30m", "")],
        ),
        ("5", [("field", "5 is not a mapping", "write lines such as 'name: value'")]),
    ],
)
def test_faults_of_middlewares_are_told_with_their_place(text: str, faults: list[tuple[str, str, str]]) -> None:
    _, to = read_yaml(Middlewares(), text)
    assert told(to) == faults


def test_numbers_of_thousands_of_digits_are_told() -> None:
    _, to = read_yaml(Middlewares(), f"rate_limit: {{average: '{'9' * 5000}'}}")
    assert [path for path, _, _ in told(to)] == ["field.rate_limit.average"]


@pytest.mark.parametrize(
    "text", ["rate_limit: {average: 5, burst: '10', period: 1m}", "rate_limit: {period: null}", "rate_limit:"]
)
def test_good_rates_are_fine(text: str) -> None:
    assert told(read_yaml(Middlewares(), text)[1]) == []


# ---- the small ones -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["https://x/y.png", "http://x", "/a.svg", "@target/a.png", "@selfhst/immich.svg", "@walkxcode/a-dark.webp", ""],
)
def test_icons_are_read(text: str) -> None:
    found, to = read(Icon(), text)
    assert (found, told(to)) == (text, [])


@pytest.mark.parametrize("text", ["immich", "@selfhst/immich", "@selfhst/immich.gif", "@other/x.svg", "ftp://x"])
def test_what_is_no_icon_is_told(text: str) -> None:
    found, to = read(Icon(), text)
    assert found is UNSET
    assert [message for _, message, _ in told(to)] == [f"{text!r} is not an icon"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7 days", {"days": 7}),
        ("1 day", {"days": 1}),
        ("2 weeks", {"days": 14}),
        ("1 month", {"days": 30}),
        ("last 100", {"last": 100}),
        ("50 MB", {"keep_size": 50 * 1024**2}),
        ("1kb", {"keep_size": 1024}),
        (" 3 GB ", {"keep_size": 3 * 1024**3}),
        ("", UNSET),
        (None, UNSET),
    ],
)
def test_retentions_are_read(text: str | None, found: Any) -> None:
    assert read(Retention(), text)[0] == found


@pytest.mark.parametrize("text", ["7", "7 years", "-1 days", "first 5", "5 Mb", 7])
def test_what_is_no_retention_is_told(text: Any) -> None:
    found, to = read(Retention(), text)
    assert found is UNSET
    assert len(to.problems) == 1


@pytest.mark.parametrize(
    ("text", "good"),
    [("404", True), (404, True), ("400-499", True), ("499-400", False), ("600", False), ("4xx", False), (None, False)],
)
def test_statuses_are_one_or_a_range(text: Any, good: bool) -> None:
    found, to = read(StatusRange(), text)
    assert found == (str(text) if good else UNSET)
    assert bool(to.problems) is not good


@pytest.mark.parametrize(
    "text", ["default {\n  bypass\n}", "path /x {\n  if { y }\n}", "- name: a\n  on: x\n  do: y", ""]
)
def test_rules_are_kept_as_they_are_written(text: str) -> None:
    found, reading = read(Rules(), text)
    assert not reading.problems
    assert found == (UNSET if not text else text if "{" in text else [{"name": "a", "on": "x", "do": "y"}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "'nonsense' is not a list of rules"),
        ("a { b", "'a { b' is not a list of rules"),
        ("} {", "'} {' is not a list of rules"),
        ("- a", "a rule is a mapping, not text"),
        ("- {name: a, dow: x}", "unknown field of a rule"),
        ("- {name: default, do: x}\n- {name: default, do: y}", "there is a default rule already"),
        ("- [", "not valid YAML: did not find expected node content"),
    ],
)
def test_what_are_no_rules_is_told(text: str, message: str) -> None:
    found, reading = read(Rules(), text)
    assert found is UNSET
    assert [problem.message for problem in reading.problems] == [message]
