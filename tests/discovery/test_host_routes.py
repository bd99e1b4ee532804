from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.discovery.host_routes import routes_to

if TYPE_CHECKING:
    from pathlib import Path

IPV4 = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t01A8C0C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
*\t0000000B\t00000000\t0201\t0\t0\t0\t000000FF\t0\t0\t0
"""
IPV6 = """\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 0 1 0 3 eth0
fd000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 0 1 0 1 br0
"""


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("172.17.0.5", True),
        ("172.18.0.5", False),  # only the default route leads there
        ("10.0.0.4", False),
        ("11.0.0.1", False),  # an unreachable route
        ("fd00::5", True),
        ("2001:db8::1", False),
        ("", False),
        ("name", False),
    ],
)
def test_an_address_is_routed_to_if_another_than_the_default_route_leads_there(
    tmp_path: Path, address: str, found: bool
) -> None:
    (tmp_path / "4").write_text(IPV4)
    (tmp_path / "6").write_text(IPV6)
    assert routes_to(address, ipv4=tmp_path / "4", ipv6=tmp_path / "6") is found


def test_without_readable_tables_nothing_is_routed_to(tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("header\nodd odd odd odd\n")
    assert not routes_to("172.17.0.5", ipv4=tmp_path / "none")
    assert not routes_to("172.17.0.5", ipv4=tmp_path / "odd")
