"""Long and odd texts of a hostile engine, in every place where an engine can write one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.support.faults import VERSION, answer, json_answer

if TYPE_CHECKING:
    from tests.support.faults import Exchange

__all__ = ["ATTACKS", "events", "listed"]

LONG = "\x1b[31m\u202e" + "x" * 20_000
HUGE = 10**4000
ID = "a" * 64


def listed(**more: Any) -> dict[str, Any]:
    network = {"bridge": {"IPAddress": "172.17.0.2", "NetworkID": "b" * 64}}
    return {
        "Id": ID, "Names": ["/web"], "Image": "app", "State": "running", "Status": "Up", "Created": 1, "Labels": {},
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}], "NetworkSettings": {"Networks": network}, **more,
    }  # fmt: skip


def events(*found: dict[str, Any]) -> Any:
    async def send(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        for event in found:
            await exchange.send(json.dumps(event).encode() + b"\n")
        await exchange.gone()

    return send


def event(**actor: Any) -> dict[str, Any]:
    return {"Type": "container", "Action": "start", "Actor": {"ID": ID, **actor}}


BAD_LABELS = {"proxy.aliases": "web", "proxy.network": LONG, f"proxy.web.{LONG}": LONG, "proxy.web.port": LONG}

ATTACKS: dict[str, dict[str, Any]] = {
    "huge API version": {"version": json_answer(VERSION | {"ApiVersion": "9" * 20_000 + ".1"})},
    "odd API version": {"version": json_answer(VERSION | {"ApiVersion": LONG})},
    "old engine, odd minimum": {"version": json_answer({"ApiVersion": "1.12", "MinAPIVersion": LONG})},
    "long versions": {
        "version": json_answer(
            VERSION | {"Version": LONG, "MinAPIVersion": LONG, "Components": [{"Name": LONG, "Version": LONG}]}
        )
    },
    "versions of another type": {"version": json_answer(VERSION | {"ApiVersion": [LONG]})},
    "long reason": {"json": answer(f"500 {'y' * 20_000}", b"")},
    "reason with controls": {"json": answer("500 \x1b[31m\x9b1m", b"")},
    "long message": {"json": json_answer({"message": LONG}, status="403 no")},
    "long plain message": {"json": answer("409 Conflict", LONG.encode(), "Content-Type: text/plain")},
    "long redirect": {"json": answer("302 Found", b"", f"Location: {'z' * 20_000}")},
    "long encoding": {"json": answer("200 OK", b"", f"Content-Encoding: {'z' * 20_000}")},
    "not a list": {"json": json_answer({LONG: LONG})},
    "long name": {"json": json_answer([listed(Names=[f"/{LONG}"], Labels=BAD_LABELS)])},
    "long names of networks": {
        "json": json_answer(
            [listed(NetworkSettings={"Networks": {f"{n}{LONG}": {} for n in range(5)}}, Labels=BAD_LABELS)]
        )
    },
    "long addresses": {"json": json_answer([listed(NetworkSettings={"Networks": {"b": {"IPAddress": LONG}}})])},
    "long state": {"json": json_answer([listed(State=LONG, Status=LONG, Image=LONG)])},
    "huge numbers": {"json": json_answer([listed(Created=HUGE, Ports=[{"PrivatePort": HUGE, "PublicPort": HUGE}])])},
    "other types": {"json": json_answer([listed(Created=LONG), listed(Id=1), LONG, HUGE, None])},
    "long events": {
        "json": json_answer([listed()]),
        "events": events(
            event(Attributes={"name": LONG}),
            {"Type": "container", "Action": f"health_status: {LONG}", "Actor": {"ID": ID}, "timeNano": HUGE},
            event(Attributes={"container": ID, "name": LONG}) | {"Type": "network", "Action": "connect"},
        ),
    },
    "event of another type": {"events": events({"Type": LONG, "Action": HUGE})},
    "long services": {
        "json": json_answer([listed(Labels={f"com.docker.swarm.service.{key}": LONG for key in ("id", "name")})]),
        "services": json_answer([{"ID": LONG, "Spec": {"Name": LONG, "Labels": {LONG: LONG}}}]),
    },
}  # fmt: skip
