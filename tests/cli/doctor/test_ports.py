from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from pilotage.cli.doctor.ports import Holder, check_port, find_holder, user_name
from tests.support.install import EngineUnavailable
from tests.support.ports import free_port
from tests.support.required import missing

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_free_port_is_fine() -> None:
    assert check_port("gateway.http", "127.0.0.1", free_port()).state == "ok"


def test_the_program_that_holds_a_port_is_named_unless_it_belongs_to_the_daemon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = check_port("gateway.http", "127.0.0.1", port)
        assert found.state == "problem"
        assert f"process {os.getpid()}, user {user_name(os.geteuid())}" in found.text
        assert f"kill {os.getpid()}" in found.remedy
        for daemon in (os.getpid(), os.getppid()):
            assert check_port("gateway.http", "127.0.0.1", port, daemon=daemon).state == "ok"


def test_an_ipv6_port_has_a_holder_too() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        missing(EngineUnavailable(f"this machine has no IPv6: {error}"))
    with server:
        found = find_holder(server.getsockname()[1])
    assert found is not None
    assert found.pid == os.getpid()


def test_an_address_of_another_machine_is_a_problem() -> None:
    found = check_port("gateway.http", "192.0.2.7", free_port())
    assert found.state == "problem"
    assert "address of this machine" in found.remedy


def test_a_port_below_1024_needs_a_right(monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may listen everywhere, and tests run as root too: what others meet is made up.
    monkeypatch.setattr("pilotage.cli.doctor.ports.port_error", lambda *_: os.strerror(errno.EACCES))
    monkeypatch.setattr("pilotage.cli.doctor.ports.find_holder", lambda _: None)
    found = check_port("gateway.https", "0.0.0.0", 443)
    assert found.state == "problem"
    assert "ip_unprivileged_port_start=443" in found.remedy
    monkeypatch.setattr("pilotage.cli.doctor.ports.find_holder", lambda _: Holder(0, "", "proxy"))
    with_daemon = check_port("gateway.https", "0.0.0.0", 443, daemon=-1)
    assert with_daemon.state == "warning"
    assert "a program of user proxy" in with_daemon.text


def test_the_owner_of_an_invisible_program_is_read_from_the_kernels_list(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000 64123        0 1 1\n"
    )
    assert find_holder(443, (table, tmp_path / "none")) == Holder(0, "", "64123")
    assert find_holder(80, (table,)) is None
