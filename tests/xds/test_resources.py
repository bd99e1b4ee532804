from __future__ import annotations

from envoy.config.cluster.v3 import cluster_pb2

from pilotage.xds.resources import CLUSTER, header, number, packed, resource, seconds, socket


def test_the_version_is_a_hash_of_the_content() -> None:
    one, same, other = (resource(CLUSTER, "x", cluster_pb2.Cluster(name=name)) for name in ("a", "a", "b"))
    assert one.version == same.version != other.version
    assert one.key == (CLUSTER, "x")


def test_durations_are_exact() -> None:
    assert (seconds(1.5).seconds, seconds(1.5).nanos) == (1, 500_000_000)
    assert (seconds(0).seconds, seconds(0).nanos) == (0, 0)


def test_durations_are_capped() -> None:
    assert seconds(292 * 365 * 86_400).seconds == 9_000_000_000


def test_numbers_are_capped() -> None:
    assert number(2**40).value == 2**32 - 1


def test_headers_are_replaced_or_appended_and_may_be_empty() -> None:
    put, added = header("a", ""), header("a", "1", add=True)
    assert put.keep_empty_value
    assert put.append_action != added.append_action


def test_messages_are_wrapped_in_any() -> None:
    wrapped = packed(socket("::1", 53, udp=True))
    assert wrapped.type_url == "type.googleapis.com/envoy.config.core.v3.Address"
