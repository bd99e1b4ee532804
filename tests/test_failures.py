"""Cause every failure in the tables of docs/how-to/troubleshooting.md: the messages are those that the tables show."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
import trustme

from pilotage.core.errors import GatewayError
from pilotage.gateway.binary import find_envoy
from pilotage.routes.port_syntax import PortPair
from pilotage.testing import FakeEngine, container
from tests.support.gateway import gateway, route
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pilotage.routes.route import Route
    from tests.support.gateway import Gateway

pytestmark = pytest.mark.process

TABLE = (
    (Path(__file__).parents[1] / "docs" / "how-to" / "troubleshooting.md").read_text().partition("### Odd messages")[0]
)
ROWS: dict[str, list[str]] = {
    cells[0]: re.findall(r"`([^`]+)`", cells[1])
    for cells in re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", TABLE, re.MULTILINE)
    if "`" in cells[1]
}
ENVIRONMENT = {**os.environ, "COLUMNS": "400", "PYTHONPATH": os.pathsep.join(sys.path)}


async def printed(*words: str, **options: Any) -> str:
    """Return the output of a command."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pilotage", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=ENVIRONMENT,
        **options,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    return out.decode()


async def routes(url: str, **options: Any) -> str:
    return await printed("routes", "--engine", f"local={url}", **options)


async def not_started(folder: Path) -> str:
    return (await routes(f"unix://{folder}/none.sock")).replace(f"{folder}/none.sock", "/var/run/docker.sock")


async def no_permission(_: Path) -> str:
    folder = Path(tempfile.mkdtemp(prefix="closed-"))  # not in pytest's folder, which only its owner can enter
    try:
        return await denied(folder)
    finally:
        shutil.rmtree(folder)


async def denied(folder: Path) -> str:
    group = grp.getgrgid(os.getgid()).gr_name
    async with FakeEngine(socket=folder / "engine.sock"):
        (folder / "engine.sock").chmod(0o660)
        folder.chmod(0o711)
        said = await in_other_hands(f"unix://{folder}/engine.sock")
    return said.replace(f"{folder}/engine.sock", "/var/run/docker.sock").replace(f"'{group}'", "'docker'")


async def in_other_hands(url: str) -> str:
    """Scan an engine as a user without permission, in this process: another user could not read the checkout."""
    from pilotage import DockerProviderConfig, scan_all

    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        survey = await scan_all([DockerProviderConfig(url, name="local")])
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
    return str(survey.errors["local"])


async def nothing_listens(folder: Path) -> str:
    async with FakeEngine(tcp=True) as engine:
        url = engine.url
    port = url.rpartition(":")[2]
    return (await routes(url)).replace("127.0.0.1", "node1").replace(port, "2375")


async def speaks_tls(folder: Path) -> str:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        body = b"Client sent an HTTP request to an HTTPS server.\n"
        writer.write(b"HTTP/1.0 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        return (await routes(f"tcp://127.0.0.1:{port}")).replace(f"127.0.0.1:{port}", "node1:2376")


async def proxy_refuses(folder: Path) -> str:
    async with FakeEngine() as engine:
        engine.spoil("list", status=403, message="Forbidden")
        return await routes(engine.url)


async def engine_hangs(folder: Path) -> str:
    """The client's tests cover the time-out of 30 s; here a shorter one causes the same error."""
    from pilotage import DockerProviderConfig, EngineError, Pool, scan_engine
    from pilotage.engine.connection import Timeouts

    async with FakeEngine() as engine, Pool(Timeouts(request=0.5)) as pool:
        engine.spoil("list", hang=True)
        with pytest.raises(EngineError) as caught:
            await scan_engine(DockerProviderConfig(engine.url, name="local"), pool=pool)
        return str(caught.value).replace("0.5 s", "30 s")


async def slip_in_config(folder: Path) -> str:
    (folder / "pilotage.yml").write_text(
        "providers:\n  docker:\n    local:\n      sheme: tcp\n      host: node1\n      port: 2375\n"
    )
    return await printed("routes", "--config", "pilotage.yml", cwd=folder)


def recorded(folder: Path, *containers: dict[str, Any], url: str = "") -> str:
    file = folder / "recording.json"
    file.write_text(json.dumps({"provider": {"name": "local", "url": url}, "containers": list(containers)}))
    return str(file)


def one(name: str, created: int = 1_700_000_000, **more: Any) -> dict[str, Any]:
    return {
        "Id": f"{created:064x}",
        "Names": [f"/{name}"],
        "Created": created,
        "State": "running",
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.5"}}},
        **more,
    }


async def slip_in_label(folder: Path) -> str:
    return await printed("routes", "--replay", recorded(folder, one("shop", Labels={"proxy.shop.prot": "8080"})))


async def same_name(folder: Path) -> str:
    labels = {"proxy.aliases": "shop"}
    return await printed("routes", "--replay", recorded(folder, one("a", 1, Labels=labels), one("b", 2, Labels=labels)))


async def full_name(folder: Path) -> str:
    short, full = ({"proxy.aliases": name} for name in ("shop", "shop.example.com"))
    return await printed("routes", "--replay", recorded(folder, one("a", 1, Labels=short), one("b", 2, Labels=full)))


async def foreign_pool(folder: Path) -> str:
    link = {"proxy.*.load_balance.link": "shop"}
    ours, theirs = (link | {"com.docker.compose.project": name} for name in ("one", "two"))
    return await printed("routes", "--replay", recorded(folder, one("a", 1, Labels=ours), one("b", 2, Labels=theirs)))


async def no_route(folder: Path) -> str:
    return await printed("routes", "--replay", recorded(folder, one("shop", State="exited")))


# ---- while serving


async def lacks_packages(folder: Path) -> str:
    program = "import sys; sys.modules['grpc'] = None; from pilotage.cli.main import run; run(['serve', '--demo'])"
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), stderr=asyncio.subprocess.PIPE, env=ENVIRONMENT
    )
    return (await asyncio.wait_for(done.communicate(), 60))[1].decode()


async def no_envoy(folder: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("importlib.metadata.distribution", Mock(side_effect=PackageNotFoundError))
        patch.setenv("PATH", str(folder))
        with pytest.raises(GatewayError) as caught:
            find_envoy()
    return str(caught.value)


async def served(folder: Path, *words: str, config: str = "") -> str:
    """Return what ``pilotage serve`` prints before it exits."""
    (folder / "pilotage.yml").write_text(f"providers: {{docker: {{local: 'unix://{folder}/none.sock'}}}}\n{config}")
    places = ["--port", str(free_port()), "--api", f"unix://{folder}/api.sock"]
    return await printed("serve", "--config", "pilotage.yml", *places, *words, cwd=folder)


async def port_taken(folder: Path) -> str:
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = str(other.getsockname()[1])
        return (await served(folder, "--port", port)).replace(f":{port}:", ":8080:")


async def api_taken(folder: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        return (await served(folder, "--api", f"127.0.0.1:{port}")).replace(f":{port}:", ":8888:")


async def api_open(folder: Path) -> str:
    port = str(free_port())
    return (await served(folder, "--api", f"0.0.0.0:{port}")).replace(f":{port};", ":8888;")


async def open_xds(folder: Path) -> str:
    return await served(folder, config="gateway: {xds: {listen: 0.0.0.0:18000}}")


async def key_of_another(folder: Path) -> str:
    authority = trustme.CA()
    authority.issue_cert("shop.example.com").cert_chain_pems[0].write_to_path(str(folder / "shop.pem"))
    authority.issue_cert("shop.example.com").private_key_pem.write_to_path(str(folder / "shop-key.pem"))
    tls = "tls: [{cert_file: shop.pem, key_file: shop-key.pem}]"
    return await served(folder, config=f"gateway: {{https: {free_port()}, {tls}}}")


async def wrong_change(folder: Path) -> str:
    file, pipe = folder / "pilotage.yml", asyncio.subprocess.PIPE
    async with FakeEngine() as engine:
        engines = f"providers: {{docker: {{local: '{engine.url}'}}}}\n"
        file.write_text(f"{engines}gateway: {{xds: {{listen: 'unix://{folder}/ads.sock'}}}}\n")
        words = ["serve", "--no-gateway", "--config", "pilotage.yml", "--api", f"unix://{folder}/api.sock"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pilotage", *words), stdout=pipe, stderr=pipe, env=ENVIRONMENT, cwd=folder
        )
        try:
            async with asyncio.timeout(60):
                assert process.stdout is not None
                assert process.stderr is not None
                await process.stdout.readuntil(b"Dashboard and API")
                file.write_text(f"{engines}gateway: {{htps: 443}}\n")
                process.send_signal(signal.SIGHUP)
                said = await process.stderr.readuntil(b"configuration rejected") + await process.stderr.readline()
                process.send_signal(signal.SIGTERM)
                rest = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
    return b"".join([said, *rest]).decode()


async def refusal(folder: Path, refused: Route) -> str:
    """Return the problem that a NACK of Envoy becomes."""
    async with gateway(folder) as gw:
        await gw.publish(refused)
        await until(lambda: gw.refused)
        return str(gw.refused[0]).replace("Envoy test", "Envoy pilotage")


async def tcp_port_taken(folder: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        db = route("db", 22, scheme="tcp", bind="127.0.0.1", port=PortPair(port, 22))
        return (await refusal(folder, db)).replace(str(port), "2222")


async def envoy_refuses(folder: Path) -> str:
    return await refusal(folder, route("shop", 443, scheme="https", ssl_trusted_certificate=f"{folder}/none.pem"))


async def page_of(gw: Gateway, host: str) -> str:
    answer = await gw.ask(host, headers={"Accept": "text/html"})
    return f"{answer.status} {answer.body.decode()}"


async def no_such_name(folder: Path) -> str:
    async with gateway(folder) as gw:
        return await page_of(gw, "shop.example.com")


async def no_answer(folder: Path) -> str:
    async with gateway(folder) as gw:
        await gw.publish(route("shop", free_port()))
        return await page_of(gw, "shop.example.com")


async def unpublished(folder: Path) -> str:
    file = recorded(folder, one("shop"), url="tcp://node1:2375")
    return await printed("explain", "shop", "--replay", file)


MADE: dict[str, Callable[[Path], Awaitable[str]]] = {
    "the engine is not running": not_started,
    "no permission": no_permission,
    "nothing listens": nothing_listens,
    "the port expects TLS": speaks_tls,
    "a socket proxy refuses a request": proxy_refuses,
    "an engine hangs": engine_hangs,
    "a typo in `pilotage.yml`": slip_in_config,
    "a typo in a label": slip_in_label,
    "two containers claim the same alias": same_name,
    "another container's alias already covers a full name": full_name,
    "a container is not admitted to a pool": foreign_pool,
    "a container is not served": no_route,
    "the `gateway` extra is missing": lacks_packages,
    "there is no Envoy": no_envoy,
    "the port is in use": port_taken,
    "the API's address is in use": api_taken,
    "the API would be open to other machines": api_open,
    "xDS would be open to other machines": open_xds,
    "key and certificate do not match": key_of_another,
    "a typo in a changed `pilotage.yml`": wrong_change,
    "the port of a tcp route is in use": tcp_port_taken,
    "Envoy rejects a route": envoy_refuses,
    "no route has that name": no_such_name,
    "a container does not answer": no_answer,
    "a remote container publishes no port": unpublished,
}


def test_every_row_of_the_tables_is_made() -> None:
    assert list(ROWS) == list(MADE)


@pytest.mark.parametrize("what", MADE)
async def test_the_troubleshooting_table_matches_the_output(
    what: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if what == "no permission":
        request.getfixturevalue("root")
    said = await MADE[what](tmp_path)
    shown = [text for text in ROWS[what] if not text.startswith("pilotage ")]
    assert shown
    for text in shown:
        assert text in said
    assert "Traceback" not in said


async def test_the_others_are_listed_while_one_engine_fails(tmp_path: Path) -> None:
    async with FakeEngine([container("shop")]) as engine:
        said = await printed("routes", "--engine", f"good={engine.url}", "--engine", f"bad=unix://{tmp_path}/none.sock")
    assert f"bad: no socket at {tmp_path}/none.sock" in said
    assert re.search(r"^shop +http://", said, re.MULTILINE)
