from __future__ import annotations

import os
import resource
import socket
import threading
from typing import TYPE_CHECKING, Any

from pilotage.cli.doctor import machine
from pilotage.cli.doctor.machine import allowed_files, check_clock, check_name, check_open_files
from pilotage.config import GatewaySettings

if TYPE_CHECKING:
    import pytest


def resolves_to(*addresses: str) -> Any:
    def resolve(name: str, *_: object, **__: object) -> list[Any]:
        assert name.startswith("pilotage-doctor.")
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]

    return resolve


def test_names_that_resolve_are_fine() -> None:
    found = check_name("localhost", resolves_to("127.0.0.1"))
    assert (found.state, found.text) == ("ok", "they resolve to 127.0.0.1")
    assert "through a router" in check_name("example.com", resolves_to("192.0.2.7")).text


def test_names_that_do_not_resolve_get_a_warning() -> None:
    assert "libnss-myhostname" in check_name("localhost", resolves_to()).remedy
    assert "*.example.com" in check_name("example.com", resolves_to()).remedy


def test_a_resolver_that_hangs_does_not_hold_up_the_other_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_PATIENCE", 0.01)
    ended = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        ended.wait()
        return []

    assert "no answer" in check_name("example.com", hang).text
    ended.set()


def test_the_kernel_says_whether_the_clock_is_synchronized() -> None:
    assert check_clock(lambda: 0).state == "ok"
    assert "set-ntp" in check_clock(lambda: 5).remedy
    assert check_clock(lambda: -1).state == "warning"
    assert "does not say" not in check_clock().text


def test_too_few_open_files_are_a_warning_with_the_number_that_is_needed() -> None:
    plain = GatewaySettings(workers=2)
    assert check_open_files(plain, 65_536).state == "ok"
    few = check_open_files(plain, 1024)
    assert few.state == "warning"
    assert "LimitNOFILE=2096" in few.remedy
    assert check_open_files(plain, 2096).state == "ok"
    many = check_open_files(GatewaySettings(workers=2, max_connections=50_000), 65_536)
    assert "instead of gateway.max_connections: 50000" in many.text
    assert "LimitNOFILE=100096" in many.remedy
    assert check_open_files(GatewaySettings(workers=2, max_connections=50_000), 100_096).state == "ok"


def test_the_limit_of_a_process_is_its_hard_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    expected = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    assert allowed_files() == allowed_files(os.getpid()) == allowed_files(-1) == expected
