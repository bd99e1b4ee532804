"""A route with a profile is reached only with a certificate of that profile, no matter how a client connects."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

import pytest
import trustme

from tests.support.front_door import Answer, front_door, raw_target, read_response
from tests.support.handshakes import REFUSED, context, status
from tests.support.http2 import Http2
from tests.support.ports import free_port
from tests.support.revocation import revocation_list
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.front_door import FrontDoor

pytestmark = [pytest.mark.process, pytest.mark.slow]

_HEADER = "X-Client-Cert-Subject"


class _People:
    """Two authorities for clients, and the files of a client of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authorities = {name: trustme.CA() for name in ("staff", "others")}
        for name, authority in self.authorities.items():
            authority.cert_pem.write_to_path(folder / f"{name}.pem")
            issued = authority.issue_cert(f"{name}@example.org", common_name=f"a client of {name}")
            issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}-client.pem")
        server = trustme.CA().issue_cert("*.example.org", "example.org", "*.apps.example.org")
        server.cert_chain_pems[0].write_to_path(folder / "server.pem")
        server.private_key_pem.write_to_path(folder / "server-key.pem")

    def context(self, who: str, *protocols: str) -> ssl.SSLContext:
        return context(*protocols, certificate=str(self.folder / f"{who}-client.pem") if who else "")


def _ask(door: FrontDoor, settings: ssl.SSLContext, name: str, host: str) -> int:
    """Return the status of a request that claims to have a certificate already."""
    return status(door.https_port, settings, name, host, f"{_HEADER}: CN=root")


def _routes(port: int) -> dict[str, Any]:
    target = {"host": "127.0.0.1", "port": port}
    found: dict[str, Any] = {"shop": target}
    found |= {name: {**target, "inbound_mtls_profile": name} for name in (*_PROFILES, "gone")}
    found["moved"] = {**target, "inbound_mtls_profile": "staff", "middlewares": {"redirect_http": None}}
    return found


def _settings(**more: Any) -> dict[str, Any]:
    return {
        "tls": [{"cert_file": "server.pem", "key_file": "server-key.pem"}],
        "trusted_proxies": ["127.0.0.9"],
        **more,
    }


_PROFILES: Final = {
    "staff": {"ca_files": ["staff.pem"]},
    "others": {"ca_files": ["others.pem"]},
    "guests": {"ca_files": ["staff.pem"], "optional": True},
    "broken": {"ca_files": ["missing.pem"]},
}
_SECTIONS: Final = {"inbound_mtls_profiles": _PROFILES}


@pytest.mark.proves("inbound_mtls_profile")
def test_a_protected_route_has_no_other_way_in(tmp_path: Path) -> None:
    people = _People(tmp_path)
    with (
        raw_target("shop") as target,
        front_door(tmp_path, _routes(target.port), _settings(), sections=_SECTIONS) as door,
    ):

        def ask(who: str, name: str, host: str) -> tuple[int, str | None]:
            seen = len(target.seen)
            status = _ask(door, people.context(who), f"{name}.example.org", host)
            assert len(target.seen) - seen == (status == 200)
            return status, target.last().headers.get(_HEADER.lower()) if status == 200 else None

        staff = "a client of staff"
        status, subject = ask("staff", "staff", "staff.example.org")
        assert status == 200
        assert subject is not None
        assert f"CN={staff}" in subject
        # Without a certificate, or with one of somebody else.
        assert ask("", "staff", "staff.example.org") == (403, None)
        assert ask("others", "staff", "staff.example.org") == (REFUSED, None)
        # Over a connection for another name, in any spelling of the host.
        for who in ("", "staff"):
            for host in ("staff.example.org", "staff", "STAFF.example.org", "Staff.example.org.:443", "staff.test"):
                assert ask(who, "shop", host) == (421, None), host
        assert ask("others", "others", "staff.example.org") == (421, None)
        assert ask("staff", "guests", "staff.example.org") == (421, None)
        for host in ("STAFF.example.org", "staff.example.org:1"):
            assert ask("", "staff", host) == (403, None)
            assert ask("staff", "staff", host)[0] == 200
        # Where a certificate is optional, and where none is wanted, nobody can claim to have one.
        assert ask("", "guests", "guests.example.org") == (200, None)
        assert ask("staff", "guests", "guests.example.org")[1] == subject
        assert ask("others", "guests", "guests.example.org") == (REFUSED, None)
        assert ask("staff", "shop", "shop.example.org") == (200, None)
        assert ask("staff", "staff", "shop.example.org") == (200, None)
        # A profile that does not exist or cannot be used takes its route out of service.
        for name in ("gone", "broken"):
            assert ask("staff", name, f"{name}.example.org") == (404, None)
        _, problems = door.api("/v1/problems")
        assert "there is no inbound mTLS profile" in str(problems)
        assert "the inbound mTLS profile 'broken' cannot be used: cannot read" in str(problems)
        # On the plain listener, even a trusted proxy cannot vouch for a client.
        for source in ("127.0.0.1", "127.0.0.9"):
            head = f"GET / HTTP/1.1\nHost: {{}}\n{_HEADER}: CN=root\nX-Forwarded-Proto: https\nConnection: close\n\n"
            assert door.say(head.format("staff"), source=source).status == 421
            assert door.say(head.format("shop"), source=source).status == 200
            assert _HEADER.lower() not in target.last().headers
        assert [door.get(host).status for host in ("moved", "MOVED")] == [308, 308]


def test_http2_clients_cannot_reuse_a_connection_for_a_protected_route(tmp_path: Path) -> None:
    people = _People(tmp_path)
    with (
        raw_target("shop") as target,
        front_door(tmp_path, _routes(target.port), _settings(), sections=_SECTIONS) as door,
    ):
        for name, expected in (("shop", ["200", "4xx"]), ("staff", ["200", "200"])):
            with (
                socket.create_connection(("127.0.0.1", door.https_port), timeout=30) as plain,
                people.context("staff", "h2").wrap_socket(plain, server_hostname=f"{name}.example.org") as connection,
            ):
                assert connection.selected_alpn_protocol() == "h2"
                client = Http2(connection)
                client.request(1, "shop.example.org")
                client.request(3, "staff.example.org")
                assert client.statuses(1, 3) == dict(zip((1, 3), expected, strict=True))


def test_a_resumed_session_is_verified_again(tmp_path: Path) -> None:
    people = _People(tmp_path)
    with (
        raw_target("shop") as target,
        front_door(tmp_path, _routes(target.port), _settings(), sections=_SECTIONS) as door,
    ):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            settings = people.context("staff")
            settings.maximum_version = version
            session = None
            for name, status in (("shop", 421), ("staff", 200), ("staff", 200)):
                with (
                    socket.create_connection(("127.0.0.1", door.https_port), timeout=30) as plain,
                    settings.wrap_socket(plain, server_hostname=f"{name}.example.org", session=session) as connection,
                ):
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: staff.example.org\r\nConnection: close\r\n\r\n")
                    assert Answer(read_response(connection)).status == status
                    session = connection.session


def test_a_change_of_the_authorities_takes_effect_at_once(tmp_path: Path) -> None:
    people = _People(tmp_path)
    with (
        raw_target("shop") as target,
        front_door(tmp_path, _routes(target.port), _settings(), sections=_SECTIONS) as door,
    ):

        def status(who: str) -> int:
            return _ask(door, people.context(who), "staff.example.org", "staff.example.org")

        assert (status("staff"), status("others")) == (200, REFUSED)
        people.authorities["others"].cert_pem.write_to_path(tmp_path / "staff.pem")
        wait_until(lambda: (status("staff"), status("others")) == (REFUSED, 200))
        (tmp_path / "staff.pem").unlink()
        wait_until(lambda: status("others") in (404, REFUSED))
        people.authorities["staff"].cert_pem.write_to_path(tmp_path / "staff.pem")
        wait_until(lambda: status("staff") == 200)


def test_the_profile_of_the_entrypoint_guards_every_route(tmp_path: Path) -> None:
    people = _People(tmp_path)
    (tmp_path / "rules.yml").write_text("- on: path /\n  do: pass\n")
    with raw_target("shop") as target:
        to = {"host": "127.0.0.1", "port": target.port}
        routes = {
            "shop": to,
            "*.apps.example.org": to,
            "ruled": {**to, "rules": [{"name": "elsewhere", "on": "path /", "do": "route shop"}]},
            "filed": {**to, "rule_file": str(tmp_path / "rules.yml")},
            "asked": {**to, "middlewares": {"forwardauth": {"route": "shop"}}},
            "same": {**to, "inbound_mtls_profile": "staff"},
            "other": {**to, "inbound_mtls_profile": "others"},
            "moved": {**to, "middlewares": {"redirect_http": None}},
            "ended": {**to, "scheme": "tcp", "port": f"{free_port()}:{target.port}", "tls_termination": True},
        }
        sections = {**_SECTIONS, "entrypoint": {"inbound_mtls_profile": "staff"}}
        with front_door(tmp_path, routes, _settings(), sections=sections) as door:

            def ask(who: str, name: str) -> int:
                return _ask(door, people.context(who), f"{name}.example.org", f"{name}.example.org")

            served = ("shop", "a.apps", "ruled", "filed", "asked", "same", "moved")
            assert {name: ask("staff", name) for name in served} == dict.fromkeys(served, 200)
            assert "CN=a client of staff" in target.last().headers[_HEADER.lower()]
            seen = len(target.seen)
            assert {name: ask("", name) for name in served} == dict.fromkeys(served, 403)
            assert {ask("others", name) for name in (*served, "unknown")} == {REFUSED}
            plain = {name: door.get(f"{name}.example.org").status for name in served}
            assert plain == {**dict.fromkeys(served, 421), "moved": 308}
            assert ask("staff", "other") == 404
            assert len(target.seen) == seen
            problems = str(door.api("/v1/problems")[1])
            assert "entrypoint.inbound_mtls_profile requires the profile 'staff' of all routes" in problems
            assert "requires client certificates, which the gateway does not verify for tcp" in problems
            _, found = door.api("/v1/routes")
            assert {found["routes"][name]["inbound_mtls_profile"] for name in ("shop", "ruled", "filed")} == {"staff"}
            (file,) = door.api("/v1/explain/shop")[1]["files"]
            facts = {fact["name"]: fact["why"] for fact in file["routes"][0]["facts"]}
            assert facts["inbound_mtls_profile"] == "entrypoint.inbound_mtls_profile requires it of all routes"


def test_revoked_certificates_are_refused_and_nobody_gets_in_without_a_current_list(tmp_path: Path) -> None:
    people = _People(tmp_path)
    staff, path = people.authorities["staff"], tmp_path / "staff.crl"
    revoked = staff.issue_cert("gone@example.org")
    revoked.private_key_and_cert_chain_pem.write_to_path(tmp_path / "gone-client.pem")
    path.write_bytes(revocation_list(staff))
    profile = {"ca_files": ["staff.pem", "others.pem"], "crl_files": ["staff.crl"]}
    with raw_target("shop") as target:
        routes = {"staff": {"host": "127.0.0.1", "port": target.port, "inbound_mtls_profile": "staff"}}
        sections = {"inbound_mtls_profiles": {"staff": profile}}
        with front_door(tmp_path, routes, _settings(), sections=sections) as door:

            def status(who: str) -> int:
                return _ask(door, people.context(who), "staff.example.org", "staff.example.org")

            assert (status("staff"), status("gone")) == (200, 200)
            assert status("others") == REFUSED  # its authority has no list
            path.write_bytes(revocation_list(staff, revoked, encoding="DER"))
            wait_until(lambda: (status("staff"), status("gone")) == (200, REFUSED))
            path.write_bytes(revocation_list(staff, days=-1.0))
            wait_until(lambda: status("staff") == 404)
            assert "staff.crl has expired" in str(door.api("/v1/problems")[1])
            path.unlink()
            wait_until(lambda: "cannot read the revocation list" in str(door.api("/v1/problems")[1]))
            assert status("staff") == 404
            path.write_bytes(revocation_list(staff))
            wait_until(lambda: (status("staff"), status("gone")) == (200, 200))
