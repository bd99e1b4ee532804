from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.core.secrets import EVERYTHING
from pilotage.core.yaml import Located, parse_yaml
from pilotage.routes.fields import (
    UNSET,
    Boolean,
    Choice,
    Duration,
    FieldContext,
    Host,
    Integer,
    IPAddress,
    Kind,
    Name,
    Path,
    RequestPath,
    Text,
)
from pilotage.routes.mappings import FreeMapping, ListOf


def reading(kind: Kind, value: Any) -> tuple[Any, list[tuple[str, str]]]:
    """What a kind makes of a plain value of YAML or a label's text, and what it tells of it."""
    context = FieldContext(visible=EVERYTHING, path="field")
    found = kind.read(marked(value), context)
    return found, [(problem.message, problem.hint) for problem in context.problems]


def marked(value: Any) -> Located:
    if isinstance(value, dict):
        return Located({key: marked(item) for key, item in value.items()}, "label")
    if isinstance(value, list):
        return Located([marked(item) for item in value], "label")
    return Located(value, "label")


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        (Text(), " x ", " x "),
        (Text(), "", ""),
        (Text(), 5, "5"),
        (Text(), 1.5, "1.5"),
        (Text(), True, "true"),
        (Text(), None, UNSET),
        (Name(), " The-Shop ", "the-shop"),
        (Name(), None, UNSET),
        (Path(), "/a", "/a"),
        (Boolean(), "T", True),
        (Boolean(), "0", False),
        (Boolean(), True, True),
        (Boolean(), 1, True),
        (Boolean(), "", False),
        (Boolean(), None, UNSET),
        (Integer(), "12", 12),
        (Integer(), "+12", 12),
        (Integer(), "-12", -12),
        (Integer(), "012", 12),
        (Integer(), -(2**63), -(2**63)),
        (Integer(), 12, 12),
        (Integer(), "", UNSET),
        (Integer(), None, UNSET),
        (Integer(0), "0", 0),
        (Duration(), "5m", 300.0),
        (Duration(), "90", 90.0),
        (Duration(), 90, 90.0),
        (Duration(), "-1s", -1.0),
        (Duration(), "", UNSET),
        (Duration(), None, UNSET),
        (Duration(1), "1s", 1.0),
        (Duration(1), "0", UNSET),
        (Duration(1), 0, UNSET),
        (Duration(0), "0s", 0.0),
        (Choice(("keep", "drop")), "keep", "keep"),
        (Choice(("keep", "drop")), "", UNSET),
        (Choice(("keep", "drop")), None, UNSET),
        (Choice(("TLSv1.2",), fold=True), "tlsV1.2", "TLSv1.2"),
        (Host(), "  MyHost.LAN ", "myhost.lan"),
        (Host(), "10.0.0.5", "10.0.0.5"),
        (Host(), "my_service", "my_service"),
        (Host(), "fd00:0::5", "fd00::5"),
        (Host(), "[::1]", "::1"),
        (Host(), "bücher.example", "bücher.example"),
        (Host(), 5, "5"),
        (Host(), "  ", UNSET),
        (Host(), None, UNSET),
        (IPAddress(), "127.0.0.1", "127.0.0.1"),
        (IPAddress(), "0::1", "::1"),
        (IPAddress(), "", UNSET),
        (IPAddress(), None, UNSET),
        (RequestPath(), "/up?x=1", "/up?x=1"),
        (RequestPath(), "", UNSET),
        (RequestPath(), None, UNSET),
        (ListOf(Text()), "a b,,c", ("a", "b", "c")),
        (ListOf(Text()), "[a, 'b c']", ("a", "b c")),
        (ListOf(Text()), "- a\n- b\n", ("a", "b")),
        (ListOf(Text()), ["a", 5], ("a", "5")),
        (ListOf(Text()), "\n# nothing\n", ()),
        (ListOf(Text()), "", UNSET),
        (ListOf(Text()), None, UNSET),
        (FreeMapping(), {"A_b": {"c": [1]}}, {"A_b": {"c": [1]}}),
        (FreeMapping(), "A: 1", {"A": 1}),
        (FreeMapping(), "", {}),
        (FreeMapping(), None, UNSET),
    ],
)
def test_a_good_value_is_read(kind: Kind, value: Any, found: Any) -> None:
    read, problems = reading(kind, value)
    assert problems == []
    assert read == found
    assert type(read) is type(found)


@pytest.mark.parametrize(
    ("kind", "value", "message", "hint"),
    [
        (Text(), [1], "a list is not text", ""),
        (Boolean(), "yes", "'yes' is not a boolean", "write true or false"),
        (Boolean(), " true", "' true' is not a boolean", "write true or false"),
        (Boolean(), 2, "2 is not a boolean", "write true or false"),
        (Boolean(), [], "a list is not a boolean", "write true or false"),
        (Integer(), "many", "'many' is not a whole number", ""),
        (Integer(), "0x10", "'0x10' is not a whole number", ""),
        (Integer(), "1_000", "'1_000' is not a whole number", ""),
        (Integer(), " 1", "' 1' is not a whole number", ""),
        (Integer(), 1.5, "1.5 is not a whole number", ""),
        (Integer(), True, "true is not a whole number", ""),
        (Integer(), "9" * 5000, f"'{'9' * 59}…' is not a whole number", ""),
        (Integer(), 2**63, f"{2**63} is too large", ""),
        (Integer(), -(2**63) - 1, f"{-(2**63) - 1} is too large", ""),
        (Integer(0), "-1", "-1 is too small; it must be at least 0", ""),
        (Duration(), "soon", "'soon': not a duration; write a number with a unit, such as 30s, 5m or 1h30m", ""),
        (Duration(), 1.5, "1.5 is not a duration", "write a number with a unit, such as 30s or 5m"),
        (Duration(), True, "true is not a duration", "write a number with a unit, such as 30s or 5m"),
        (Duration(1), "500ms", "'500ms' is too short; it must be at least 1s", ""),
        (Duration(0), "-5s", "'-5s' is too short; it must be at least 0s", ""),
        (Choice(("http", "https")), "HTTP", "'HTTP' is not one of http, https", "did you mean 'http'?"),
        (Choice(("http", "https")), "htps", "'htps' is not one of http, https", "did you mean 'https'?"),
        (Choice(("http", "https")), "gopher", "'gopher' is not one of http, https", ""),
        (Choice(("http", "https")), [], "a list is not one of http, https", ""),
        (
            IPAddress(),
            "eth0",
            "'eth0' is not an IP address",
            "write one such as 127.0.0.1, or :: for every IPv6 address",
        ),
        (IPAddress(), 5, "5 is not an IP address", "write one such as 127.0.0.1, or :: for every IPv6 address"),
        (
            IPAddress(),
            "fe80::1%eth0",
            "'fe80::1%eth0' is not an IP address",
            "write one such as 127.0.0.1, or :: for every IPv6 address",
        ),
        (RequestPath(), "up", "'up' is not a request path", "write '/up'"),
        (RequestPath(), "/a b", "'/a b' is not a request path", "write '/a b'"),
        (RequestPath(), {}, "a mapping is not a request path", ""),
        (ListOf(Text()), {}, "a mapping is not a list", ""),
        (ListOf(Text()), "a: 1\nb: 2\n", "a mapping is not a list", ""),
        (ListOf(Text()), "[a", "not valid YAML: did not find expected ',' or ']'", ""),
        (ListOf(Choice(("keep",))), "- a: 1\n", "a mapping is not one of keep", ""),
        (FreeMapping(), "x", "'x' is not a mapping", "write lines such as 'name: value'"),
        (FreeMapping(), [1], "a list is not a mapping", "write lines such as 'name: value'"),
        (FreeMapping(), "a: [", "not valid YAML: did not find expected node content", ""),
    ],
)
def test_a_bad_value_is_reported_and_stays_unset(kind: Kind, value: Any, message: str, hint: str) -> None:
    found, problems = reading(kind, value)
    assert problems == [(message, hint)]
    assert found in (UNSET, ())


@pytest.mark.parametrize("text", ["http://x", "x/y", "x:80", "a b", "[x]", "::1%eth0", "1::2::3", "["])
def test_a_host_is_a_name_or_an_address_alone(text: str) -> None:
    found, ((message, hint),) = reading(Host(), text)
    assert found is UNSET
    assert "is not a host name or an IP address" in message
    assert hint == "write the name or the address alone, without scheme, port or path"


def test_an_error_points_at_the_value_or_at_its_key() -> None:
    document = parse_yaml("a:  {b: c}\n", "label")
    assert document is not None
    context = FieldContext(visible=EVERYTHING, path="a")
    context.error(document.value["a"], "x")
    context.error(document.value["a"], "x", path="a.b", at_key=True)
    assert [(p.path, p.line, p.column, p.value) for p in context.problems] == [
        ("a", 1, 5, "{'b': 'c'}"),
        ("a.b", 1, 1, "{'b': 'c'}"),
    ]


def test_durations_are_written_as_seconds_and_lists_by_their_elements() -> None:
    assert Duration().dump("interval", 5.0) == ("interval_s", 5.0)
    assert ListOf(Text()).dump("names", ("a", "b")) == ("names", ["a", "b"])


KINDS = [Text(), Boolean(), Integer(0), Duration(1), Choice(("a",)), Host(), IPAddress(), RequestPath()]
KINDS += [ListOf(Text()), FreeMapping()]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(KINDS), values)
def test_any_value_is_read_or_reported(kind: Kind, value: Any) -> None:
    found, problems = reading(kind, value)
    assert all(message for message, _ in problems)
    assert found is not None
