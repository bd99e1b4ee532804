"""The xDS server gives routes and private keys to nobody but the Envoys that the operator named."""

from __future__ import annotations

import asyncio
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from pilotage.testing import FakeEngine
from pilotage.xds.resources import SECRET
from tests.support.daemon_process import Served, serving
from tests.support.envoy import web_server
from tests.support.ports import free_port
from tests.support.rights import public_folder
from tests.support.serving import add
from tests.support.strangers import fetch_resources, reaches

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.process, pytest.mark.slow]

KEY = "PRIVATE KEY"


@pytest.fixture
def open_tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that every user may enter, so that nothing but pilotage's own modes protects."""
    with public_folder() as folder:
        monkeypatch.setenv("TMPDIR", str(folder))
        yield folder


def written_certificate(folder: Path) -> dict[str, str]:
    certificate = trustme.CA().issue_cert("shop.example.com")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    return {"cert_file": str(folder / "cert.pem"), "key_file": str(folder / "key.pem")}


def listening(pid: int) -> set[str]:
    """Return the TCP ports on which a process listens."""
    sockets = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    inodes = {name[8:-1] for name in sockets if name.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(str(int(fields[1].rpartition(":")[2], 16)))
    return found


def configuration(engine: FakeEngine, folder: Path, **gateway: Any) -> dict[str, Any]:
    more = {"http": f"127.0.0.1:{free_port()}", "https": f"127.0.0.1:{free_port()}", **gateway}
    return {"providers": {"docker": {"local": engine.url}}, "gateway": {**more, "tls": [written_certificate(folder)]}}


@pytest.mark.usefixtures("root")
async def test_another_user_cannot_connect_to_the_socket_of_the_local_envoy(tmp_path: Path, open_tmp: Path) -> None:
    async with web_server() as port, FakeEngine() as engine:
        add(engine, "shop", port)
        async with serving(tmp_path, {"local": engine.url}) as served:
            await served.answers()
            (sock,) = open_tmp.glob("pilotage-*/xds.sock")
            assert stat.S_IMODE(sock.parent.stat().st_mode) == 0o700
            assert stat.S_IMODE(sock.stat().st_mode) == 0o600
            assert await asyncio.to_thread(reaches, str(sock)) == "Permission denied"
            sock.parent.chmod(0o755)  # its own mode protects it, too
            assert await asyncio.to_thread(reaches, str(sock)) == "Permission denied"
            assert await asyncio.to_thread(reaches, str(sock), 0) == "connected"


async def test_the_daemon_listens_on_no_tcp_port_for_envoys_unless_told_to(tmp_path: Path) -> None:
    async with web_server() as port, FakeEngine() as engine:
        add(engine, "shop", port)
        async with serving(tmp_path, {"local": engine.url}) as served:
            await served.answers()
            assert listening(served.pid) == set()  # its API listens on a unix socket here


@pytest.mark.usefixtures("root")
async def test_envoys_that_pilotage_does_not_run_get_a_private_socket(tmp_path: Path, open_tmp: Path) -> None:
    api = open_tmp / "api.sock"
    async with FakeEngine() as engine:
        served = Served(tmp_path, 0, configuration(engine, tmp_path), "--no-gateway", PILOTAGE_SOCKET=str(api))
        await served.start()
        try:
            sock = open_tmp / "pilotage-xds" / "ads.sock"
            assert listening(served.pid) == set()
            assert stat.S_IMODE(sock.parent.stat().st_mode) == 0o700
            sock.parent.chmod(0o755)
            told = await asyncio.to_thread(fetch_resources, f"unix:{sock}", SECRET)
            assert told == "UNAVAILABLE"
            assert KEY in await asyncio.to_thread(fetch_resources, f"unix:{sock}", SECRET, 0)  # its owner is served
        finally:
            await served.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::1]"])
async def test_plaintext_tcp_is_refused_with_the_remedy(tmp_path: Path, host: str) -> None:
    async with FakeEngine() as engine:
        place = f"{host}:{free_port()}"
        served = Served(tmp_path, 0, configuration(engine, tmp_path, xds={"listen": place}), "--no-gateway")
        with pytest.raises(AssertionError, match="did not start"):
            await served.start()
        await served.stop()
        said = f"gateway.xds.listen: {place} would give all routes and private keys to everyone who can connect; "
        assert said + "add gateway.xds.tls with ca_file, cert_file and key_file" in served.log


async def test_a_client_without_a_certificate_gets_nothing_over_tcp(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    place = f"127.0.0.1:{free_port()}"
    async with FakeEngine() as engine:
        made = configuration(engine, tmp_path)
        own = authority.issue_cert("127.0.0.1")
        own.private_key_pem.write_to_path(str(tmp_path / "xds-key.pem"))
        own.cert_chain_pems[0].write_to_path(str(tmp_path / "xds.pem"))
        files = {"ca_file": "ca.pem", "cert_file": "xds.pem", "key_file": "xds-key.pem"}
        made["gateway"]["xds"] = {"listen": place, "tls": files}
        served = Served(tmp_path, 0, made, "--no-gateway")
        await served.start()
        try:
            assert await asyncio.to_thread(fetch_resources, place, SECRET, 0) == "UNAVAILABLE"
            context = f"import ssl,socket; c=ssl.create_default_context(cafile={str(tmp_path / 'ca.pem')!r})"
            host, port = place.split(":")
            preface = "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0"  # and empty settings
            connect = f"socket.create_connection(({host!r}, {port}))"
            code = f"{context}; c.set_alpn_protocols(['h2']); s=c.wrap_socket({connect}, server_hostname={host!r})"
            shaking = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", f"{code}; s.sendall(b'{preface}'); s.settimeout(10); print(s.recv(1))"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            got, error = await shaking.communicate()
            assert got == b"b''\n" or b"reset" in error.lower() or b"required" in error.lower()
        finally:
            await served.stop()


async def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    with public_folder() as folder:
        async with FakeEngine() as engine:
            made = configuration(engine, tmp_path, xds={"listen": f"unix://{folder}/ads.sock"})
            served = Served(tmp_path, 0, made, "--no-gateway")
            with pytest.raises(AssertionError, match="did not start"):
                await served.start()
            await served.stop()
            assert f"the folder {folder} must belong to this user, have mode 0700 and not be a link" in served.log
