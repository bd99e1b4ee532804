from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.core.text import shorten
from pilotage.routes.port_syntax import PortPair
from pilotage.xds import nacks
from pilotage.xds.nacks import Nack, Retries, nack_problems
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE, SECRET, Resource
from tests.support.gateway import becomes, route, target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    import trustme


def refused(said: str, type_url: str, name: str, *answers: str) -> list[tuple[str, str, str]]:
    routes = {"app": route("app", 80), "db": route("db", 22)}
    nack = Nack(Resource(type_url, name, "1", b"", answers=answers), said)
    return [(it.route, it.message, it.hint) for it in nack_problems(nack, "edge", routes.get)]


def test_a_port_in_use_is_reported_as_such() -> None:
    said = "Error adding/updating listener(s) tcp/0.0.0.0:22: cannot bind '0.0.0.0:22': Address already in use\n"
    (found,) = refused(said, LISTENER, "tcp/0.0.0.0:22", "db")
    message = "Envoy edge cannot listen on tcp/0.0.0.0:22: Address already in use"
    assert found == ("db", message, "choose another port, or stop the program that listens there")
    said = "Error adding/updating listener(s) http: cannot bind '0.0.0.0:80': Permission denied\n"
    (found,) = refused(said, LISTENER, "http")
    assert found[:2] == ("", "Envoy edge cannot listen on 0.0.0.0:80: Permission denied")


def test_each_route_of_a_resource_gets_a_one_line_problem() -> None:
    said = "Error adding/updating cluster(s) route/app: Invalid path: /ca.pem\n"
    told = "Envoy edge rejected this route, which answers 503: Invalid path: /ca.pem"
    hint = "fix the labels of this route"
    assert refused(said, CLUSTER, "route/app", "app", "db") == [("app", told, hint), ("db", told, hint)]
    assert refused(said, CLUSTER, "route/app", "gone") == [("gone", told, "fix the gateway's settings")]


def test_a_rejected_resource_without_a_route_is_named() -> None:
    ((_, message, hint),) = refused("odd\n goo.gle/debugonly tls_certificate { }", SECRET, "certificate/1")
    assert message == "Envoy edge rejected the certificate 1 and keeps the previous version: odd"
    assert hint == "fix the gateway's settings"
    ((_, message, _),) = refused("odd", LISTENER, "http")
    assert "the listener http" in message


def test_a_rejected_virtual_host_is_a_problem_of_its_route_only() -> None:
    nack = Nack(Resource(SCOPE, "app", "1", b"", answers=("app", "db")), "odd", "db")
    assert [it.route for it in nack_problems(nack, "edge", lambda _: None)] == ["db"]


def test_the_delays_between_retries_double_up_to_five_minutes() -> None:
    retries = Retries()
    nack = Nack(Resource(CLUSTER, "route/app", "1", b""), "odd")
    for number, delay in enumerate((5, 10, 20, 40, 80, 160, 300, 300)):
        assert retries.add(nack) == (delay, number == 0)
        retries.begin(nack.resource.key, rejected=True)
    assert retries.add(Nack(Resource(CLUSTER, "route/app", "2", b""), "odd")) == (300, True)
    assert retries.add(Nack(Resource(CLUSTER, "route/web", "1", b""), "odd")) == (5, True)


def test_a_resource_has_one_retry_at_a_time() -> None:
    retries = Retries()
    scope = Resource(SCOPE, "app", "1", b"")
    found = [retries.add(Nack(scope, "odd", host)) for host in ("a", "b", "a")]
    assert found == [(5, True), (None, True), (None, False)]


def test_what_is_accepted_is_forgotten() -> None:
    retries = Retries()
    for number in range(1_000):
        nack = Nack(Resource(CLUSTER, f"route/{number}", "1", b""), "odd")
        assert retries.add(nack) == (5, True)
        retries.begin(nack.resource.key, rejected=False)
    assert [*retries._tries, *retries._scheduled, *retries._reported] == []


def test_a_route_whose_clusters_are_all_rejected_is_reported_once() -> None:
    retries = Retries()
    first, second = (Nack(Resource(CLUSTER, name, "1", b"", answers=("app",)), "odd") for name in ("route/app", "b"))
    (problem,) = nack_problems(first, "edge", lambda _: None)
    assert nack_problems(second, "edge", lambda _: None) == [problem]
    assert problem.refused
    assert [retries.is_first(nack, problem) for nack in (first, second, second)] == [True, False, False]
    for nack in (first, second):
        retries.begin(nack.resource.key, rejected=False)
    assert retries._causes == {}
    assert retries.is_first(second, problem)


def test_a_problem_is_resolved_once_none_of_its_resources_is_rejected() -> None:
    retries = Retries()
    first, second = (Nack(Resource(CLUSTER, name, "1", b"", answers=("app",)), "odd") for name in ("route/app", "b"))
    (problem,) = nack_problems(first, "edge", lambda _: None)
    for nack in (first, second):
        retries.add(nack)
        retries.is_first(nack, problem)
    keys = [nack.resource.key for nack in (first, second)]
    assert [retries.forget(keys[left:]) for left in range(3)] == [[], [], [problem]]
    assert retries.forget([]) == []


async def test_an_https_route_that_envoy_rejects_is_reported_once(envoy: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    async with target() as it, envoy() as gw:
        await gw.publish(route("shop", it.port, scheme="https", ssl_trusted_certificate=str(broken)))
        await until(lambda: gw.refused and len(gw.ads.problems) == 1)
        assert [problem.route for problem in gw.refused] == ["shop"]
        assert [problem.refused for problem in gw.ads.problems] == [True]


def test_a_listener_that_could_not_listen_is_retried_every_two_seconds() -> None:
    retries = Retries()
    nack = Nack(Resource(LISTENER, "tcp/0.0.0.0:22", "1", b""), "cannot bind '0.0.0.0:22': Address already in use")
    for _ in range(4):
        assert retries.add(nack)[0] == 2
        retries.begin(nack.resource.key, rejected=True)


async def test_reloads_do_not_multiply_the_retries(envoy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nacks, "_FIRST_DELAY", 1000)
    async with target() as it, envoy() as gw:
        await gw.publish(route("shop", it.port, scheme="https", ssl_trusted_certificate="/nowhere/ca.pem"))
        timers = len(gw.ads._timers)
        for _ in range(5):
            gw.ads.configure(gw.options)
            async with asyncio.timeout(20):
                await gw.ads.wait_for_acks()
        assert len(gw.ads._timers) == timers
        assert len(gw.refused) == 1  # the clusters for requests in general and for gRPC, each once


async def test_a_taken_port_is_used_once_it_is_free(envoy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nacks, "_BIND_DELAY", 0.05)
    rejections: list[Nack] = []
    add = Retries.add

    def counted(retries: Retries, nack: Nack) -> tuple[float | None, bool]:
        rejections.append(nack)
        return add(retries, nack)

    monkeypatch.setattr(Retries, "add", counted)
    port = free_port()
    async with target() as it, envoy() as gw:
        with socket.create_server(("0.0.0.0", port)):
            await gw.publish(route("db", it.port, scheme="tcp", port=PortPair(port, it.port)))
            assert [problem.route for problem in gw.ads.problems] == ["db"]
            await until(lambda: len(rejections) >= 4)
            assert len(gw.refused) == 1  # later attempts are not reported again
        await until(lambda: not gw.ads.problems)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_a_certificate_that_appears_later_is_used(
    envoy: Any, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nacks, "_FIRST_DELAY", 0.05)
    missing = tmp_path / "later.pem"
    async with target() as it, envoy() as gw:
        await gw.publish(route("shop", it.port, scheme="https", ssl_trusted_certificate=str(missing)))
        assert (await gw.ask("shop")).status == 503
        assert len(gw.ads.problems) == 1
        authority.cert_pem.write_to_path(missing)
        await until(lambda: not gw.ads.problems)


async def test_a_reload_offers_what_was_rejected_again(envoy: Any, authority: trustme.CA, tmp_path: Path) -> None:
    missing = tmp_path / "later.pem"
    async with target() as it, envoy() as gw:
        await gw.publish(route("shop", it.port, scheme="https", ssl_trusted_certificate=str(missing)))
        assert len(gw.ads.problems) == 1
        authority.cert_pem.write_to_path(missing)
        gw.ads.configure(gw.options)
        await until(lambda: not gw.ads.problems)


async def test_a_rejected_route_does_not_affect_others_with_the_same_first_label(envoy: Any) -> None:
    async with target("one") as one, target("two") as two, envoy() as gw:
        bad = route("app.example.org", free_port(), scheme="https", ssl_trusted_certificate="/nowhere/ca.pem")

        async def answers() -> tuple[str, int, int]:
            good = await gw.ask("app.example.com")
            return good.by, good.status, (await gw.ask("app.example.org")).status

        await gw.publish(bad, route("app.example.com", one.port))
        assert await answers() == ("one", 200, 503)
        assert [problem.route for problem in gw.ads.problems] == ["app.example.org"]
        await gw.publish(bad, route("app.example.com", two.port))
        await becomes(answers, ("two", 200, 503))
        await gw.publish(bad)
        await becomes(answers, ("", 404, 503))
        await gw.publish(bad, route("app.example.com", one.port))
        await becomes(answers, ("one", 200, 503))


def test_a_problem_names_the_container_of_its_route() -> None:
    routes = {"app": route("app", 80)}
    (found,) = nack_problems(Nack(Resource(CLUSTER, "route/app", "1", b"", answers=("app",)), "odd"), "e", routes.get)
    assert (found.provider, found.container) == (routes["app"].provider, routes["app"].container)
    (found,) = nack_problems(Nack(Resource(CLUSTER, "route/x", "1", b"", answers=("x",)), "odd"), "e", routes.get)
    assert (found.provider, found.container, found.route) == ("", "", "x")


def test_a_route_of_a_file_is_to_be_fixed_there() -> None:
    static = msgspec.structs.replace(route("nas", 80), container="", provider="routes.yml")
    nack = Nack(Resource(CLUSTER, "route/nas", "1", b"", answers=("nas",)), "odd")
    (found,) = nack_problems(nack, "e", {"nas": static}.get)
    assert static.is_static
    assert found.hint == "fix this route in its file"


def test_an_error_is_one_line_without_its_prefix_its_dump_and_the_name_of_its_resource() -> None:
    said = " Error adding/updating cluster(s) route/app: bad\n  value goo.gle/debugproto name: x\n more"
    ((_, message, _),) = refused(said, CLUSTER, "route/app", "app")
    assert message == "Envoy edge rejected this route, which answers 503: bad value"
    ((_, message, _),) = refused("x" * 400, LISTENER, "http")
    assert message == f"Envoy edge rejected the listener http and keeps the previous version: {shorten('x' * 400, 300)}"


def test_only_a_listener_cannot_listen() -> None:
    said = "cannot bind '0.0.0.0:22': Address already in use"
    assert Nack(Resource(LISTENER, "tcp/0.0.0.0:22", "1", b""), said).cannot_bind
    assert not Nack(Resource(LISTENER, "tcp/0.0.0.0:22", "1", b""), "odd").cannot_bind
    assert not Nack(Resource(CLUSTER, "route/app", "1", b""), said).cannot_bind
    ((_, message, _),) = refused(said, CLUSTER, "route/app", "app")
    assert message == f"Envoy edge rejected this route, which answers 503: {said}"


def test_the_delay_stays_at_five_minutes_and_is_reset_after_success() -> None:
    retries = Retries()
    nack = Nack(Resource(CLUSTER, "route/app", "1", b""), "odd")
    delays = []
    for _ in range(2_000):
        delays.append(retries.add(nack)[0])
        retries.begin(nack.resource.key, rejected=True)
    assert delays[6:] == [300] * 1_994
    retries.begin(nack.resource.key, rejected=False)
    assert retries.add(nack) == (5, True)
