from __future__ import annotations

import socket
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver

from pilotage.request_service.outside import OutsideResolver, check_url, is_outside, outside_session

INSIDE = ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1%eth0", "0.0.0.0", "::", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("address", [*INSIDE, "224.0.0.1", "ff02::1", "255.255.255.255", "no address"])
def test_addresses_of_this_machine_and_its_link_are_refused(address: str) -> None:
    assert not is_outside(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.0.2.1", "172.17.0.2", "2001:db8::1", "fd00::1"])
def test_other_addresses_are_allowed(address: str) -> None:
    assert is_outside(address)
    check_url(f"http://{f'[{address}]' if ':' in address else address}/")
    check_url("http://name/")


@pytest.mark.parametrize("host", ["127.0.0.1:80", "[::1]", "169.254.169.254"])
def test_urls_with_such_addresses_are_refused(host: str) -> None:
    with pytest.raises(OSError, match="only the configuration may name a provider"):
        check_url(f"http://{host}/")


class Fixed(AbstractResolver):
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        return [{"host": address, "port": port} for address in self.addresses]

    async def close(self) -> None:
        pass


async def test_names_lead_only_to_allowed_addresses() -> None:
    found = await OutsideResolver(Fixed("127.0.0.1", "192.0.2.1")).resolve("x")
    assert [it["host"] for it in found] == ["192.0.2.1"]
    with pytest.raises(OSError, match="only the configuration"):
        await OutsideResolver(Fixed("127.0.0.1")).resolve("x")


async def test_a_name_of_this_machine_is_refused_before_connecting() -> None:
    async with outside_session(anywhere=False) as session:
        with pytest.raises(aiohttp.ClientError, match="only the configuration"):
            await session.get("http://localhost:1/")
