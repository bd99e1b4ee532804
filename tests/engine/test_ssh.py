"""ssh to a real server on loopback, with a real engine behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.address import Address
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.connection import Timeouts
from pilotage.engine.diagnosis import Diagnosis
from pilotage.engine.pool import Pool, new_client
from pilotage.engine.ssh import SSHDialer, command_line, diagnosis
from tests.support.leaks import assert_no_leaks, children
from tests.support.ports import free_port
from tests.support.required import required
from tests.support.sshd import Sshd
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.engines import Engine


@pytest.fixture(scope="module")
def _server(docker_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with required():
        server = Sshd(tmp_path_factory.mktemp("sshd"), docker_engine.host)
    yield server
    server.close()


@pytest.fixture
def sshd(_server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """The server, trusted and trusting, and ``ssh`` in the path that knows it."""
    _server.trust("host")
    _server.log_in_with("user")
    for name, value in _server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return _server


def ssh_processes() -> list[int]:
    """Return our children that are ssh clients."""
    found = []
    for pid in children():
        with contextlib.suppress(OSError):
            found += [pid] if Path(f"/proc/{pid}/comm").read_text().strip() == "ssh" else []
    return found


async def failure(url: str) -> str:
    """Return the message of a failed connection, after seeing that nothing is left of it."""
    async with assert_no_leaks(), Pool() as pool:
        with pytest.raises(EngineUnreachable) as caught:
            await new_client(DockerProviderConfig(url, name="far"), pool=pool)
        return str(caught.value)


# ---- what works


async def test_everything_works_through_ssh(sshd: Sshd, engine: Engine) -> None:
    async with assert_no_leaks(), Pool() as pool, await new_client(sshd.url, pool=pool) as client:
        assert client.daemon_host == sshd.url
        async with client.events(filters={"type": ["container"]}) as stream:
            container = engine.run("over-ssh")
            seen = [(await anext(stream)).Action for _ in range(2)]
            assert seen == ["create", "start"]
            assert len(await client.list_containers(ids=[container])) == 1
        await client.ping()


async def test_an_alias_of_the_users_configuration_works(sshd: Sshd) -> None:
    async with Pool() as pool, await new_client("ssh://farBox", pool=pool) as client:
        await client.list_containers()


async def test_a_path_in_the_url_names_the_far_engines_socket(sshd: Sshd, docker_engine: Engine) -> None:
    async with Pool() as pool, await new_client(f"{sshd.url}{docker_engine.socket}", pool=pool) as client:
        await client.list_containers()
    assert "no such file" in await failure(f"{sshd.url}/nowhere/it's.sock")


async def test_at_most_two_connections_are_open(sshd: Sshd) -> None:
    async with Pool() as pool, await new_client(sshd.url, pool=pool) as client, client.events():
        most = 0
        lists = asyncio.gather(*(client.list_containers() for _ in range(8)))
        while not lists.done():
            most = max(most, len(ssh_processes()))
            await asyncio.sleep(0.005)
        await lists
        assert most == 2


async def test_the_local_environment_is_not_sent(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", "hidden")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    async with Pool() as pool, await new_client(sshd.url, pool=pool):
        sent = sshd.environment_file.read_text()
    assert "SSH_CONNECTION=" in sent
    assert "MY_SECRET" not in sent
    assert "LC_ALL" not in sent


# ---- what does not


async def test_an_unknown_host_key_is_explained(sshd: Sshd) -> None:
    sshd.trust(None)
    message = await failure(sshd.url)
    assert "Host key verification failed." in message
    assert f"accept the machine's key: run `ssh -p {sshd.port} {sshd.user}@127.0.0.1` once by hand" in message


async def test_a_changed_host_key_and_an_unknown_one_have_different_messages(sshd: Sshd) -> None:
    sshd.trust("stranger")
    message = await failure(sshd.url)
    assert "has changed" in message.lower()
    assert "ssh-keygen -R [127.0.0.1]" in message
    assert "@@@" not in message


async def test_a_wrong_key_is_explained_and_no_password_is_asked_for(sshd: Sshd) -> None:
    sshd.log_in_with("stranger")
    message = await failure(sshd.url)
    assert f"ssh says: {sshd.user}@127.0.0.1: Permission denied (publickey)." in message
    assert "must work without a password: set up a key (ssh-copy-id)" in message


async def test_a_key_locked_with_a_phrase_is_no_reason_to_ask_for_it(sshd: Sshd) -> None:
    sshd.log_in_with("locked")
    assert "Permission denied (publickey)" in await failure(sshd.url)


async def test_no_docker_at_the_far_end_is_explained(sshd: Sshd) -> None:
    sshd.log_in_with("bare")
    message = await failure(sshd.url)
    assert "not found" in message
    assert "install the docker CLI there" in message


async def test_no_engine_at_the_far_end_is_explained(sshd: Sshd) -> None:
    message = await failure(f"{sshd.url}/nowhere/docker.sock")
    assert "ssh says:" in message
    assert "/nowhere/docker.sock" in message
    assert "start the engine there" in message


async def test_a_closed_port_is_explained(sshd: Sshd) -> None:
    message = await failure(f"ssh://127.0.0.1:{free_port()}")
    assert "Connection refused" in message
    assert "start the ssh server there, or check the port" in message


async def test_an_unknown_host_is_explained(sshd: Sshd) -> None:
    message = await failure("ssh://nowhere.invalid")
    assert "Could not resolve hostname nowhere.invalid" in message
    assert "check the name, and ~/.ssh/config" in message


async def test_no_ssh_here_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "far: ssh is not installed; install it" in await failure("ssh://127.0.0.1")


async def test_a_server_that_never_answers_times_out_and_leaves_no_ssh(sshd: Sshd) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    async with mute, assert_no_leaks(), Pool(Timeouts(request=1)) as pool:
        with pytest.raises(EngineUnreachable, match="no response to GET /version within 1 s"):
            await new_client(f"ssh://127.0.0.1:{port}", pool=pool)


# ---- ends


async def test_a_connection_killed_mid_stream_reports_sshs_output(sshd: Sshd) -> None:
    async with Pool() as pool, await new_client(sshd.url, pool=pool) as client:
        async with client.events() as stream:
            await until(lambda: len(sshd.sessions()) >= 1)
            sshd.cut()
            with pytest.raises(EngineUnreachable, match=r"ssh says: .*closed"):
                await anext(stream)
        await client.list_containers()


async def test_no_ssh_is_left_after_closing(sshd: Sshd) -> None:
    async with assert_no_leaks():
        pool = Pool()
        client = await new_client(sshd.url, pool=pool)
        async with client.events():
            await client.ping()
            assert len(ssh_processes()) == 2
            await client.close()
            await pool.close()
            assert ssh_processes() == []


async def test_no_ssh_is_left_after_cancellation_at_any_moment(sshd: Sshd) -> None:
    async with assert_no_leaks(), Pool() as pool:
        for moment in (0, 0.002, 0.01, 0.05, 0.15, 0.3):
            task = asyncio.create_task(new_client(sshd.url, unique=True, pool=pool))
            await asyncio.sleep(moment)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                await task.result().close()
            assert ssh_processes() == []


async def test_an_ssh_that_ignores_its_end_is_killed(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = sshd.folder / "stubborn"
    stubborn.mkdir(exist_ok=True)
    (stubborn / "ssh").write_text("#!/bin/sh\ntrap '' TERM\nexec 1>&-\nwhile :; do read x || :; done\n")
    (stubborn / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{stubborn}:{os.environ['PATH']}")
    before = children()
    async with assert_no_leaks(), Pool(Timeouts(request=1)) as pool:
        with pytest.raises(EngineUnreachable):
            await new_client("ssh://127.0.0.1", pool=pool)
    assert children() == before


# ---- pure parts


def test_the_command_line_is_non_interactive_and_separates_options_from_names() -> None:
    line = command_line(Address("ssh", host="host", port=2222, user="me", path="/run/my docker.sock"))
    assert line[:2] == ["ssh", "-T"]
    options = {line[index + 1] for index, word in enumerate(line) if word == "-o"}
    assert options == {"BatchMode=yes", "ConnectTimeout=25", "ServerAliveInterval=15", "ControlMaster=no"}
    engine = "--host='unix:///run/my docker.sock'"
    assert line[-10:] == ["-l", "me", "-p", "2222", "--", "host", "docker", engine, "system", "dial-stdio"]


@pytest.mark.parametrize("podman", [True, False])
def test_a_far_engine_does_not_count_as_rootless(podman: bool) -> None:
    assert not SSHDialer(Address("ssh", host="host")).is_rootless(podman=podman)


def test_a_plain_address_leaves_user_and_port_to_sshs_configuration() -> None:
    line = command_line(Address("ssh", host="host"))
    assert line[line.index("--") :] == ["--", "host", "docker", "system", "dial-stdio"]
    assert "-l" not in line
    assert "-p" not in line


async def test_a_greeting_is_not_an_error(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    chatty = sshd.folder / "chatty"
    chatty.mkdir(exist_ok=True)
    (chatty / "ssh").write_text("#!/bin/sh\necho 'Welcome to this machine' >&2\nexec cat >/dev/null\n")
    (chatty / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{chatty}:{os.environ['PATH']}")
    async with Pool(Timeouts(request=1)) as pool:
        with pytest.raises(EngineUnreachable, match="no response to GET /version within 1 s"):
            await new_client("ssh://127.0.0.1", pool=pool)


@pytest.mark.parametrize(
    ("output", "remedy"),
    [
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            "if this change is expected: ssh-keygen -R [far]:2222, then run `ssh -p 2222 me@far` once by hand",
        ),
        ("Host key verification failed.", "accept the machine's key: run `ssh -p 2222 me@far` once by hand"),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "let that user access the engine there: add it to the group docker and log in again",
        ),
        ("Cannot connect to the Docker daemon at unix:///x. Is it running?", "start the engine there"),
        (
            "failed to open the raw stream connection: dial unix /x: no such file",
            "start the engine there, or add its socket to the address: ssh://host/path/of/docker.sock",
        ),
        (
            "me@far: Permission denied (publickey).",
            "`ssh -p 2222 me@far` must work without a password: set up a key (ssh-copy-id)",
        ),
        (
            "bash: line 1: docker: command not found",
            "install the docker CLI there, in the PATH of commands that run without a terminal",
        ),
        ("ssh: Could not resolve hostname far: Name unknown", "check the name, and ~/.ssh/config"),
        ("ssh: connect to host far port 2222: Connection refused", "start the ssh server there, or check the port"),
        (
            "ssh: connect to host far port 2222: Connection timed out",
            "check that the machine is up and no firewall blocks the port",
        ),
        ("Connection to far closed by remote host.", "check the log of the ssh server there"),
        ("Bad owner or permissions on ~/.ssh/config", "fix what ssh complains about"),
    ],
)
def test_common_errors_of_ssh_have_a_remedy(output: str, remedy: str) -> None:
    found = diagnosis(Address("ssh", host="far", port=2222, user="me"), output)
    assert found == Diagnosis(f"ssh says: {' '.join(output.splitlines())}", remedy)


@pytest.mark.parametrize(
    "noise", ["@@@@@", "Warning: Permanently added 'x'", "** odd", "Add correct host key", "Offending"]
)
def test_lines_of_ssh_that_explain_nothing_are_left_out(noise: str) -> None:
    found = diagnosis(Address("ssh", host="far"), f"{noise}\nfailed\n")
    assert found.what == "ssh says: failed"


def test_long_output_is_shortened_to_its_first_and_last_line() -> None:
    found = diagnosis(Address("ssh", host="host"), "one\ntwo\nthree\nfour\n")
    assert found.what == "ssh says: one … four"
    assert found.remedy == "try `ssh host docker system dial-stdio`"
