"""The fault matrix: whatever an engine does, it is an error in our words, in time, and nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.engine import diagnosis as faults
from pilotage.engine.address import Address
from pilotage.engine.connection import Timeouts
from pilotage.engine.diagnosis import Diagnosis, DialError, Request, diagnose_tcp, diagnose_unix, explain, renamed
from pilotage.engine.pool import Pool, new_client
from tests.support.failures import SHORT, failure
from tests.support.faults import (
    VERSION,
    Exchange,
    behave,
    puppet,
)
from tests.support.leaks import assert_no_leaks
from tests.support.rights import as_nobody, public_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.support.engines import Engine

    Reply = bytes | Callable[[Exchange], Awaitable[None]]

# ---- there is nobody


async def test_a_missing_socket(tmp_path: Path) -> None:
    error = await failure(f"unix://{tmp_path}/docker.sock")
    assert isinstance(error, EngineUnreachable)
    assert str(error).startswith(f"far: no socket at {tmp_path}/docker.sock; start the engine")


async def test_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "part of the path is not a directory" in str(await failure(f"unix://{tmp_path}/file/docker.sock"))


async def test_a_regular_file_instead_of_a_socket(tmp_path: Path) -> None:
    (tmp_path / "docker.sock").touch()
    assert "docker.sock is not a socket" in str(await failure(f"unix://{tmp_path}/docker.sock"))


async def test_a_socket_left_by_an_engine_that_is_gone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "docker.sock"))
    assert "nothing listens on" in str(await failure(f"unix://{tmp_path}/docker.sock"))


async def test_a_real_engine_that_was_killed(own_engine: Engine) -> None:
    async with Pool() as pool, await new_client(own_engine.host, pool=pool) as client:
        assert own_engine.daemon is not None
        own_engine.daemon.kill()
        with pytest.raises(EngineUnreachable, match=r"nothing listens on|connection was closed before the response"):
            await client.list_containers()
        with pytest.raises(EngineUnreachable, match="nothing listens on"):
            await client.list_containers()
        own_engine.daemon.start()
        await client.list_containers()


async def test_a_closed_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert f"far: nothing listens on port {port} of 127.0.0.1; start the engine" in str(
        await failure(f"tcp://127.0.0.1:{port}")
    )


async def test_a_closed_port_of_a_name_with_several_addresses() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert f"nothing listens on port {port} of localhost" in str(await failure(f"tcp://localhost:{port}"))


async def test_an_ipv6_literal_that_refuses() -> None:
    assert "nothing listens on port 1 of ::1" in str(await failure("tcp://[::1]:1"))


async def test_an_unknown_host_name() -> None:
    error = await failure("tcp://engine.invalid:2375", Timeouts())
    assert "cannot resolve 'engine.invalid'" in str(error)


async def test_an_invalid_host_name() -> None:
    assert "is not a valid host name" in str(await failure(f"tcp://{'a' * 64}.invalid:2375", Timeouts()))


# ---- rights


@pytest.mark.usefixtures("root")
async def test_a_socket_for_its_group_names_the_group_to_join() -> None:
    with public_folder() as folder:
        async with puppet(behave(), path=folder / "s") as engine:
            group = grp.getgrgid(1).gr_name
            os.chown(folder / "s", 0, 1)
            (folder / "s").chmod(0o660)
            with as_nobody():
                error = await failure(engine.url)
    assert f"permission denied on {folder}/s: only its owner and the group '{group}' may use it" in str(error)
    assert f"add the user nobody to the group '{group}' (sudo usermod -aG {group} nobody) and log in again" in str(
        error
    )


@pytest.mark.usefixtures("root")
async def test_nobody_is_told_to_join_the_group_of_root() -> None:
    with public_folder() as folder:
        async with puppet(behave(), path=folder / "s") as engine:
            (folder / "s").chmod(0o660)
            with as_nobody(keep_groups=False):
                error = await failure(engine.url)
    assert "only its owner and the group 'root' may use it; run as that user, or as root" in str(error)
    assert "usermod" not in str(error)


@pytest.mark.usefixtures("root")
async def test_a_socket_of_a_group_without_a_name_is_named_by_its_number() -> None:
    with public_folder() as folder:
        async with puppet(behave(), path=folder / "s") as engine:
            os.chown(folder / "s", 0, 54321)
            (folder / "s").chmod(0o660)
            with as_nobody():
                error = await failure(engine.url)
    assert "the group with id 54321 may use it; start with that supplementary group" in str(error)
    assert "--group-add 54321" in str(error)


async def test_a_socket_for_its_owner_only() -> None:
    with public_folder() as folder:
        async with puppet(behave(), path=folder / "s") as engine:
            (folder / "s").chmod(0o600 if os.geteuid() == 0 else 0)
            with as_nobody():
                assert "only its owner may use it; run as that user, or as root" in str(await failure(engine.url))


async def test_a_socket_in_a_closed_folder_names_the_folder() -> None:
    with public_folder() as folder:
        closed = folder / "closed"
        closed.mkdir()
        async with puppet(behave(), path=closed / "s") as engine:
            closed.chmod(0o700 if os.geteuid() == 0 else 0)
            with as_nobody():
                error = await failure(engine.url)
            closed.chmod(0o700)
    assert f"the user nobody cannot enter {closed}; run as" in str(error)


# ---- silence


async def test_a_server_that_accepts_and_says_nothing() -> None:
    async with puppet(Exchange.gone) as engine:
        assert str(await failure(engine.url)) == (
            "far: no response to GET /version within 0.5 s; the engine hangs or is overloaded: check its log"
        )


async def test_a_real_engine_that_is_frozen(own_engine: Engine) -> None:
    assert own_engine.daemon is not None
    async with Pool(SHORT) as pool, await new_client(own_engine.host, pool=pool) as client:
        own_engine.daemon.freeze()
        with pytest.raises(EngineUnreachable, match=r"no response to GET /containers/json within 0.5 s"):
            await client.list_containers()
        own_engine.daemon.thaw()
        await client.list_containers()


async def test_a_machine_that_does_not_answer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("pilotage.engine.transport.open_tcp", never)
    error = await failure("tcp://127.0.0.1:2375", Timeouts(connect=0.2, request=20))
    assert "far: could not connect to tcp://127.0.0.1:2375 within 0.2 s; check that the machine is up" in str(error)


async def test_an_engine_whose_queue_is_full(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as stack:
        listening.bind(str(tmp_path / "s"))
        listening.listen(0)
        for _ in range(1):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(tmp_path / "s"))
        error = await failure(f"unix://{tmp_path}/s")
    assert "the engine accepts no more connections: its queue is full" in str(error)


async def test_other_engines_are_not_affected_by_one_that_hangs() -> None:
    async with puppet(Exchange.gone) as hanging, puppet(behave()) as sound, assert_no_leaks(), Pool() as pool:
        waiting = asyncio.create_task(new_client(hanging.url, pool=pool))
        async with await new_client(sound.url, pool=pool) as client:
            for _ in range(100):
                await client.list_containers()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])


# ---- the pure parts

REQUEST = Request("far", Address("tcp", host="h", port=1), "GET /x", 5, 30)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EHOSTUNREACH, "x"), "no route to h"),
        (OSError(errno.ENETUNREACH, "x"), "no route to h"),
        (OSError(errno.ETIMEDOUT, "x"), "h does not respond on port 1"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "no name server responds"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "no name server knows it"),
    ],
)
def test_each_network_error_has_its_own_message(error: OSError, words: str) -> None:
    found = diagnose_tcp("h", 1, error)
    assert found is not None
    assert words in found.what


def test_unrelated_errors_have_no_network_diagnosis() -> None:
    assert diagnose_tcp("h", 1, OSError(errno.EMFILE, "x")) is None
    assert diagnose_tcp("h", 1, RuntimeError()) is None
    assert diagnose_unix("/s", OSError(errno.EMFILE, "x")) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNRESET, "x"), "the connection was reset during GET /x"),
        (OSError(errno.EMFILE, "x"), "out of file descriptors"),
        (OSError(errno.EIO, "secret body"), "GET /x failed (Input/output error)"),
        (OSError("secret body"), "GET /x failed (OSError)"),
        (ssl.SSLError(1, "secret"), "GET /x failed (TLS: broken)"),
        (DialError(), "cannot connect to tcp://h:1 (no reason given)"),
        (faults.ClosedError(), "GET /x: the client was closed during the request"),
    ],
)
def test_other_errors_are_reported_without_bodies(error: Exception, words: str) -> None:
    said = str(explain(error, REQUEST))
    assert words in said
    assert "secret" not in said


def test_the_dialers_diagnosis_wins_and_engine_errors_are_unchanged() -> None:
    assert str(explain(OSError(), REQUEST, Diagnosis("it rains", "wait"))) == "far: it rains; wait"
    own = EngineRefused("far", "no", status=418)
    assert explain(own, REQUEST) is own


def test_an_error_can_be_reported_under_another_name() -> None:
    refused = renamed(EngineRefused("a", "no", "why not", status=418), "b")
    assert isinstance(refused, EngineRefused)
    assert (str(refused), refused.status) == ("b: no; why not", 418)
    assert type(renamed(EngineIncompatible("a", "old"), "b")) is EngineIncompatible


def test_the_puppets_version_is_a_real_engines() -> None:
    assert VERSION["ApiVersion"] == "1.51"
