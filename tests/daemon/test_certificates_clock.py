"""Certificates on a machine whose clock is wrong: for the daemon and Envoy, but not for clients and the CA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.certified import HOST, certified
from tests.support.wrong_clock import in_wrong_time

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]

HOURS = 9600


async def test_a_wrong_clock_costs_no_certificate(tmp_path: Path) -> None:
    async with certified(tmp_path, newer=True) as it:
        await it.served.start()
        serials = {HOST: (await it.reaches("valid"))["serial"]}
        await it.served.stop()
        orders = it.orders
        for number, (hours, way) in enumerate([(HOURS, "ahead of"), (-HOURS, "behind")], 1):
            it.served.prefix = in_wrong_time(tmp_path, hours * 3600)
            await it.served.start()
            for host, serial in serials.items():  # although they seem to have expired, or not to be valid yet
                await it.serves(serial, host)
                assert await it.ask(host) == 200
            it.add(f"blog.example{number}.org")
            serials[f"blog.example{number}.org"] = (await it.reaches("valid", f"blog.example{number}.org"))["serial"]
            assert [(await it.certificate(host))["state"] for host in serials] == ["valid"] * len(serials)
            assert it.orders == orders + number
            words = f"clock is {HOURS}.0 hours {way} that of the CA; set the clock"
            assert any(words in problem for problem in await it.problems())
            await it.served.stop()
