from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.xds.combining import NO_EDITS, Edits, combined, common_networks

_names = st.sampled_from(["A", "a", "B"])
_pairs = st.dictionaries(_names, st.sampled_from("12"), max_size=2).map(lambda it: tuple(it.items()))
_edits = st.builds(Edits, put=_pairs, add=_pairs, hide=st.lists(_names, max_size=2).map(tuple))


def apply(edits: Edits, headers: dict[str, list[str]]) -> dict[str, list[str]]:
    """Do what GoDoxy does: set, then add, then remove."""
    found = {name: list(values) for name, values in headers.items()}
    for name, value in edits.put:
        found[name.lower()] = [value]
    for name, value in edits.add:
        found.setdefault(name.lower(), []).append(value)
    for name in edits.hide:
        found.pop(name.lower(), None)
    return found


@given(_edits, _edits, st.dictionaries(st.sampled_from("ab"), st.lists(st.just("0"), min_size=1, max_size=1)))
def test_two_changes_have_the_effect_of_one_after_the_other(first: Edits, then: Edits, headers: Any) -> None:
    assert apply(combined(first, then), headers) == apply(then, apply(first, headers))


def test_a_single_change_stays_as_it_is() -> None:
    only = Edits((("A", "1"),), (("B", "2"),), ("C",))
    assert combined(NO_EDITS, only) is only


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (("10.0.0.0/8",), ("10.1.0.0/16", "192.168.0.0/16"), ("10.1.0.0/16",)),
        (("10.1.2.3/32",), ("10.0.0.0/8",), ("10.1.2.3/32",)),
        (("10.0.0.0/8",), ("192.168.0.0/16",), ()),
        (("::/0", "0.0.0.0/0"), ("fd00::/8",), ("fd00::/8",)),
    ],
)
def test_networks_have_in_common_what_is_in_both(first: Any, second: Any, common: Any) -> None:
    assert common_networks(first, second) == common
    assert all(ipaddress.ip_network(it) for it in common)
