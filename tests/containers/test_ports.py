from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilotage.containers.ports import NO_PORTS, exposed_ports, is_loopback, map_ports, ports_from_inspect
from pilotage.engine.types import Port, PortBinding


def test_no_ports_are_no_ports() -> None:
    assert map_ports(None) == map_ports([]) == NO_PORTS


def test_numbers_that_are_no_ports_are_passed_over() -> None:
    odd = [Port(0, 80), Port(-1, 80), Port(65536, 80), Port(80, 65536), Port(80, -1)]
    assert map_ports(odd) == NO_PORTS
    assert map_ports([*odd, Port(65535, 65535)]).public == {65535: Port(65535, 65535)}


def test_ports_are_found_by_their_number_on_either_side() -> None:
    exposed, published = Port(9000), Port(80, 8080, "tcp", "0.0.0.0")
    ports = map_ports([exposed, published])
    assert ports.private == {9000: exposed, 80: published}
    assert ports.public == {8080: published}


def test_a_port_published_twice_is_found_under_both_numbers() -> None:
    first, second = Port(80, 8080), Port(80, 8081)
    for entries in ([first, second], [second, first]):
        ports = map_ports(entries)
        assert ports.public == {8080: first, 8081: second}
        assert ports.private == {80: second}


def test_of_two_protocols_the_published_one_stays_and_else_tcp() -> None:
    tcp, udp, udp_open = Port(53, 0, "tcp"), Port(53, 0, "udp"), Port(53, 5353, "udp")
    for first, second, stays in ((tcp, udp, tcp), (tcp, udp_open, udp_open), (Port(53, 53), udp_open, Port(53, 53))):
        assert map_ports([first, second]).private == map_ports([second, first]).private == {53: stays}


def test_ipv4_stays_before_ipv6() -> None:
    four, six = Port(80, 32770, "tcp", "0.0.0.0"), Port(80, 32771, "tcp", "::")
    for entries in ([four, six], [six, four]):
        assert map_ports(entries).private == {80: four}
        assert map_ports(entries).public == {32770: four, 32771: six}


entries = st.lists(
    st.builds(
        Port,
        st.integers(1, 4),
        st.integers(1, 4),
        st.sampled_from(["tcp", "udp"]),
        st.sampled_from(["", "0.0.0.0", "::"]),
    ),
    max_size=6,
)


@given(st.data())
def test_the_order_of_the_list_does_not_matter(data: st.DataObject) -> None:
    listed = data.draw(entries)
    one, other = map_ports(listed), map_ports(data.draw(st.permutations(listed)))
    for mine, yours in ((one.private, other.private), (one.public, other.public)):
        assert mine == yours


def test_exposed_ports_are_sorted_and_garbage_is_passed_over() -> None:
    keys = ["8096/tcp", "53/udp", "80", "9000-9002/tcp", "0/tcp", "65536/tcp", "x/tcp", "-1/tcp", "²/tcp", "9" * 5000]
    assert exposed_ports(keys) == [Port(53, 0, "udp"), Port(80, 0, "tcp"), Port(8096, 0, "tcp")]


def test_an_inspection_has_all_published_and_exposed_ports() -> None:
    bindings = {
        "80/tcp": [PortBinding("", "8080"), PortBinding("::", "8081")],
        "53/udp": None,
        "90/tcp": [],
        "91/tcp": [PortBinding("", ""), PortBinding("", "9" * 5000)],
    }
    assert ports_from_inspect(bindings) == [
        Port(53, 0, "udp"),
        Port(80, 8080, "tcp", ""),
        Port(80, 8081, "tcp", "::"),
        Port(90),
        Port(91),
    ]


def test_an_address_that_other_machines_reach_stays_before_loopback() -> None:
    loopback, everywhere = Port(80, 9000, "tcp", "127.0.0.1"), Port(80, 8000, "tcp", "::")
    for entries in ([loopback, everywhere], [everywhere, loopback]):
        assert map_ports(entries).private == {80: everywhere}


def test_of_two_addresses_the_same_one_stays_in_any_order() -> None:
    low, high = Port(80, 8000, "tcp", "10.0.0.1"), Port(80, 8000, "tcp", "10.0.0.2")
    for entries in ([low, high], [high, low]):
        assert map_ports(entries).private == {80: high}


def test_loopback_is_recognized() -> None:
    assert [ip for ip in ("127.0.0.1", "127.9.9.9", "::1", "", "0.0.0.0", "::", "10.0.0.1") if is_loopback(ip)] == [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
    ]


def test_a_port_published_for_ipv6_replaces_an_earlier_unpublished_entry() -> None:
    published = Port(80, 8080, "tcp", "::")
    assert map_ports([Port(80), published]).private == {80: published}


def test_the_lowest_and_the_highest_port_are_ports() -> None:
    entries = [Port(1, 65535, "tcp"), Port(65535, 1, "tcp"), Port(0), Port(65536)]
    assert (set(map_ports(entries).private), set(map_ports(entries).public)) == ({1, 65535}, {1, 65535})


def test_exposed_ports_of_one_number_are_sorted_by_protocol() -> None:
    for keys in (("53/udp", "53/tcp"), ("53/tcp", "53/udp")):
        assert exposed_ports(keys) == [Port(53, 0, "tcp"), Port(53, 0, "udp")]
