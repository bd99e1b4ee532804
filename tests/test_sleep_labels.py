"""The labels about sleep on real engines: Docker Engines of two generations and Podman."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.daemon_process import HOST, Served
from tests.support.images import GRACEFUL, WEB
from tests.support.podman import Podman
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = [pytest.mark.engine]

NAME = "pilotage-labels-web"
_BROWSER = ("-H", "Accept: text/html")


class Place:
    """An engine, and a daemon that reaches its containers."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        daemon = engine.daemon
        inside = isinstance(daemon, Podman)
        self._prefix = ("nsenter", f"--net=/run/netns/{daemon.namespace}") if isinstance(daemon, Podman) else ()
        self.port = 8080 if inside else free_port()
        self._folder = folder
        self.served = self._serve({"docker": {"local": engine.host}})

    def _serve(self, providers: dict[str, Any]) -> Served:
        gateway = {"http": f"127.0.0.1:{self.port}", "workers": 1}
        served = Served(self._folder, self.port, {"providers": providers, "gateway": gateway})
        served.prefix = self._prefix
        return served

    def use_file(self, file: Path) -> None:
        """Let the daemon serve the routes of a file, too."""
        self.served = self._serve({"docker": {"local": self.engine.host}, "files": [str(file)]})

    async def run(self, image: str = WEB, *command: str, name: str = NAME, **labels: str) -> None:
        """Start a container, then the daemon."""
        given = {"proxy.aliases": "shop", "proxy.idle_timeout": "1h", "proxy.shop.port": "80"}
        given |= {f"proxy.{key}": value for key, value in labels.items()}
        await asyncio.to_thread(self.engine.run, name, image, given, command=command)

    async def get(self, path: str = "/", *options: str) -> int:
        """Return the status of a response to a request, which may wait for 30 s."""
        answer = str(self._folder / "answer")
        command = (*self._prefix, "curl", "-s", "-o", answer, "-w", "%{http_code}", "-m", "30", *options)
        process = await asyncio.create_subprocess_exec(
            *command, "-H", f"Host: {HOST}", f"http://127.0.0.1:{self.port}{path}", stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        return int(printed)

    def state(self, name: str = NAME) -> str:
        return str(self.engine.inspect(name)["State"]["Status"])

    async def sleeps(self, state: str = "exited") -> None:
        """Wait until the container sleeps."""
        await until(lambda: self.state() == state)
        await self.served.enters("shop", "asleep")

    async def stop(self) -> None:
        await asyncio.to_thread(self.engine.docker, "stop", "-t", "1", NAME)
        assert self.state() == "exited"


@pytest.fixture
def newer_engine(engine_factory: Callable[[str], Engine]) -> Iterator[Engine]:
    """A Docker Engine whose API can stop a container with a signal of the caller's choice."""
    engine = engine_factory("28.5")
    with engine.scope():
        yield engine


@pytest.fixture(params=["engine", "newer_engine", "podman_engine"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    found = Place(request.getfixturevalue(request.param), tmp_path)
    yield found
    await found.served.stop()


@pytest.mark.proves("idle_timeout", "stop_method", "stop_signal", "stop_timeout")
@pytest.mark.parametrize(
    ("labels", "state", "code"),
    [
        ({}, "exited", 0),
        ({"stop_signal": "SIGKILL"}, "exited", 137),
        ({"stop_method": "kill"}, "exited", 137),
        ({"stop_method": "pause"}, "paused", 0),
    ],
    ids=["stop", "signal", "kill", "pause"],
)
async def test_an_idle_container_is_stopped_as_its_labels_say(
    place: Place, labels: dict[str, str], state: str, code: int
) -> None:
    await place.run(GRACEFUL, idle_timeout="1s", stop_timeout="5s", **labels)
    await place.served.start()
    await place.sleeps(state)
    assert place.engine.inspect(NAME)["State"]["ExitCode"] == code
    assert await place.get() == 200
    assert place.state() == "running"


# Its process tells by its exit status which signal has reached it. Engines add 128 if a signal has killed it.
_TELLS_SIGNAL = """
for signal in HUP:1 INT:2 QUIT:3 TERM:15; do trap "exit ${signal#*:}" "${signal%:*}"; done
httpd -p 80 -h /www
while :; do sleep 3600 & wait $!; done
"""


async def test_the_process_gets_the_signal_that_the_labels_name(place: Place) -> None:
    cases = [
        ("stop", "HUP", 1, "no"),
        ("stop", "SIGINT", 2, "no"),
        ("stop", "QUIT", 3, "no"),
        ("stop", "TERM", 15, "no"),
        ("stop", "", 137, "no"),  # the signal of the image is SIGKILL
        ("kill", "SIGHUP", 1, "no"),
    ]
    names = {f"pilotage-labels-{number}": case for number, case in enumerate(cases)}
    for name, (method, sent, _, restart) in names.items():
        labels = {"idle_timeout": "1s", "stop_method": method, "stop_signal": sent}
        given = {f"proxy.{key}": text for key, text in labels.items() if text}
        command = ("sh", "-c", _TELLS_SIGNAL)
        await asyncio.to_thread(place.engine.run, name, WEB, given, "--restart", restart, command=command)
    await place.served.start()
    for name in names:
        await place.served.enters(name, "asleep")
    states = {name: place.engine.inspect(name)["State"] for name in names}
    assert {it["Status"] for it in states.values()} <= {"exited", "stopped"}  # the latter is Podman's word
    assert {name: it["ExitCode"] for name, it in states.items()} == {
        name: code for name, (*_, code, _) in names.items()
    }


@pytest.mark.parametrize("place", ["engine", "newer_engine"], indirect=True)  # Podman starts it again
@pytest.mark.parametrize("method", ["stop", "kill"])
async def test_a_container_that_exits_by_a_signal_is_not_started_again_by_its_restart_policy(
    place: Place, method: str
) -> None:
    labels = {"proxy.aliases": "shop", "proxy.idle_timeout": "1s", "proxy.stop_method": method}
    labels |= {"proxy.stop_signal": "HUP"}
    command = ("sh", "-c", _TELLS_SIGNAL)
    await asyncio.to_thread(place.engine.run, NAME, WEB, labels, "--restart", "always", command=command)
    await place.served.start()
    await place.served.enters(NAME, "asleep")
    states = [place.state() for _ in range(20)]
    assert set(states) <= {"exited", "stopped"}
    assert await place.served.phase(NAME) == "asleep"
    assert await place.get() == 200


@pytest.mark.proves("wake_timeout")
async def test_a_container_that_does_not_answer_in_time_is_reported(place: Place) -> None:
    await place.run(WEB, "sleep", "3600", wake_timeout="2s")
    await place.stop()
    await place.served.start()
    assert await place.get() == 503
    assert "was not ready within 2s" in place.served.log


@pytest.mark.proves("start_endpoint")
async def test_only_the_start_endpoint_wakes(place: Place) -> None:
    await place.run(start_endpoint="/index.html")
    await place.stop()
    await place.served.start()
    assert await place.get() == 403
    assert place.state() == "exited"
    assert await place.get("/index.html") == 200


@pytest.mark.proves("depends_on", "exclude")
async def test_what_a_container_needs_is_started_first(place: Place) -> None:
    database = "pilotage-labels-db"
    agrees = {"proxy.exclude": "true", "proxy.idle_timeout": "-1s"}  # it is not in the same Compose project
    await asyncio.to_thread(place.engine.create, database, WEB, agrees)
    await place.run(depends_on=database)
    await place.stop()
    await place.served.start()
    assert await place.get() == 200
    assert place.state(database) == "running"


@pytest.mark.proves("no_loading_page")
@pytest.mark.parametrize(("hidden", "status"), [("false", 503), ("true", 200)])
async def test_browsers_wait_without_the_loading_page(place: Place, hidden: str, status: int) -> None:
    await place.run(no_loading_page=hidden)
    await place.stop()
    await place.served.start()
    assert await place.get("/", *_BROWSER) == status


async def test_the_address_may_change_during_sleep(place: Place) -> None:
    def address() -> str:
        networks = place.engine.inspect(NAME)["NetworkSettings"]["Networks"].values()
        return str(next(iter(networks))["IPAddress"])

    await place.run(idle_timeout="2s")
    before = address()
    await place.served.start()
    await place.sleeps()
    await asyncio.to_thread(place.engine.run, "pilotage-labels-other", WEB, {"proxy.exclude": "true"})
    assert await place.get() == 200
    assert address() != before


async def test_a_route_from_a_file_sleeps_and_wakes_with_a_container(place: Place, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "routes.yml"
    watched = {"docker": {"provider": "local", "container": NAME}, "idle_timeout": "2s"}
    # A published port accepts connections before the server in the container listens.
    nas = {"host": "127.0.0.1", "port": port, "healthcheck": {"path": "/"}, "idlewatcher": watched}
    file.write_text(json.dumps({"shop": nas}))
    place.use_file(file)
    labels = {"proxy.exclude": "true"}
    await asyncio.to_thread(place.engine.run, NAME, WEB, labels, "-p", f"127.0.0.1:{port}:80")
    await place.served.start()
    await place.sleeps()
    assert await place.get() == 200, f"{(tmp_path / 'answer').read_text()}\n{place.served.log}"
    assert place.state() == "running"


async def test_a_pool_sleeps_and_wakes_as_one(place: Place) -> None:
    other = "pilotage-labels-two"
    labels = {"aliases": "two", "idle_timeout": "2s", "two.load_balance.link": "shop", "two.port": "80"}
    await place.run(idle_timeout="2s", **{"shop.load_balance.link": "shop"})
    await asyncio.to_thread(place.engine.run, other, WEB, {f"proxy.{key}": text for key, text in labels.items()})
    await place.served.start()
    await place.sleeps()
    await until(lambda: place.state(other) == "exited")
    async with asyncio.timeout(60):
        while not place.state() == place.state(other) == "running":
            assert await place.get() == 200  # each request keeps both awake
