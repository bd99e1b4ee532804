"""Names of clusters whose requests may wait: what they are made of can be read from them again."""

from __future__ import annotations

import pytest

from pilotage.routes.gate import Gate
from pilotage.xds.cluster_names import (
    epoch_cluster,
    epoch_of,
    gate_key,
    gate_names,
    gate_of,
    hold_cluster,
    key_of,
    pool_gate,
)


@pytest.mark.parametrize("gate", ["shop", "shop.example.com", pool_gate("shop"), "a/b", "sleep/7/shop"])
def test_gate_key_and_epoch_can_be_read_from_the_name_of_a_sleeping_cluster(gate: str) -> None:
    name = epoch_cluster(gate, 7)
    assert (gate_of(name), epoch_of(name), key_of(name)) == (gate, 7, gate_key(gate))


@pytest.mark.parametrize("key", ["route/shop", "pool/shop", "own/0123abcd"])
def test_key_and_epoch_can_be_read_from_the_name_of_a_cluster_that_was_held(key: str) -> None:
    name = hold_cluster(key, 3)
    assert (gate_of(name), epoch_of(name), key_of(name)) == ("", 3, key)


def test_before_the_first_hold_a_cluster_has_the_name_of_its_backend() -> None:
    assert hold_cluster("route/shop", 0) == "route/shop"
    assert (gate_of("route/shop"), epoch_of("route/shop"), key_of("route/shop")) == ("", 0, "route/shop")


@pytest.mark.parametrize("name", ["hold/x/route/shop", "sleep//shop", "hold/-1/route/shop", f"sleep/{'9' * 16}/shop"])
def test_a_name_with_an_impossible_epoch_has_none(name: str) -> None:
    assert epoch_of(name) == 0


def test_a_pool_and_a_route_of_one_name_have_different_gates_and_keys() -> None:
    assert gate_key("shop") == "route/shop"
    assert gate_key(pool_gate("shop")) == "pool/shop"


def test_a_closed_gate_leads_to_an_absent_cluster_and_an_open_one_keeps_those_that_requests_wait_for() -> None:
    closed = gate_names("shop", Gate(9, "closed", busy=(7,), waiting=(8,), patience=5.0))
    assert (closed.current, closed.others, closed.absent) == ("sleep/9/shop", ("sleep/7/shop",), True)
    assert closed.patience == 5.0
    opened = gate_names("shop", Gate(9, "open", busy=(7,), waiting=(8,), is_awake=True))
    assert (opened.others, opened.absent, opened.answers) == (("sleep/7/shop", "sleep/8/shop"), False, True)
