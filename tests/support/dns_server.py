"""An authoritative DNS server on a loopback address of its own, which also takes signed updates (RFC 2136)."""

from __future__ import annotations

import base64
import contextlib
import itertools
import os
import random
import socket
import socketserver
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring

from tests.support.install import EngineUnavailable
from tests.support.required import required

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DnsServer"]

_KEY: Final = "update-key"
_numbers = itertools.count(random.randrange(1, 200))


class DnsServer:
    """Serves one zone. Every name in it has the address 127.0.0.1, unless it has other records.

    Attributes:
        address: the loopback address; the port is 53, the only one to which lexicon sends updates.
        records: name -> values of its TXT records.
        aliases: name -> target of its CNAME record.
        hidden: number of queries for TXT records that are answered as if there were none.
        updates: how many updates have been accepted.
        refuse: whether updates are refused.

    """

    def __init__(self, zone: str = "example.com") -> None:
        self.zone = dns.name.from_text(zone)
        self.records: dict[str, list[str]] = defaultdict(list)
        self.aliases: dict[str, str] = {}
        self.hidden = 0
        self.updates = 0
        self.refuse = False
        self.secret = base64.b64encode(os.urandom(32)).decode()
        self._keyring = dns.tsigkeyring.from_text({_KEY: ("hmac-sha256", self.secret)})
        self._servers: list[socketserver.BaseServer] = []
        with required():
            self.address = self._listen()

    @property
    def options(self) -> dict[str, str]:
        """Options of the provider ``rfc2136``."""
        return {
            "nameserver": self.address,
            "tsig_algorithm": "hmac-sha256",
            "tsig_key": _KEY,
            "tsig_secret": self.secret,
            "polling_interval": "1s",
            "propagation_timeout": "30s",
        }

    def _listen(self) -> str:
        for _ in range(50):
            address = f"127.53.{os.getpid() % 250}.{next(_numbers) % 250 + 1}"
            try:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind((address, 53))
            except PermissionError as error:
                raise EngineUnavailable("a DNS server for tests needs root, because lexicon uses port 53") from error
            except OSError:
                continue
            self._servers = [self._udp(address), self._tcp(address)]
            return address
        raise AssertionError

    def _udp(self, address: str) -> socketserver.BaseServer:
        answer = self._answer

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                data, sock = self.request
                if (found := answer(data)) is not None:
                    sock.sendto(found, self.client_address)

        return socketserver.ThreadingUDPServer((address, 53), Handler)

    def _tcp(self, address: str) -> socketserver.BaseServer:
        answer = self._answer

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while length := self.rfile.read(2):
                    found = answer(self.rfile.read(int.from_bytes(length, "big")))
                    if found is not None:
                        self.wfile.write(len(found).to_bytes(2, "big") + found)

        return socketserver.ThreadingTCPServer((address, 53), Handler)

    @contextlib.contextmanager
    def running(self) -> Iterator[DnsServer]:
        """Answer while the context is active."""
        for server in self._servers:
            server.daemon_threads = True  # type: ignore[attr-defined]
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield self
        finally:
            for server in self._servers:
                server.shutdown()
                server.server_close()

    def _answer(self, wire: bytes) -> bytes | None:
        try:
            query = dns.message.from_wire(wire, keyring=self._keyring)
        except dns.exception.DNSException:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        if query.opcode() == dns.opcode.UPDATE:
            self._update(query, response)
        else:
            self._look_up(query, response)
        return response.to_wire()

    def _update(self, query: Any, response: dns.message.Message) -> None:
        if self.refuse or not query.had_tsig:
            response.set_rcode(dns.rcode.REFUSED)
            return
        self.updates += 1
        for rrset in query.update:
            known = self.records[rrset.name.derelativize(self.zone).to_text(omit_final_dot=True)]
            values = [b"".join(record.strings).decode() for record in rrset]
            if rrset.deleting is None:
                known += [value for value in values if value not in known]
            elif values:
                known[:] = [value for value in known if value not in values]
            else:
                known.clear()

    def _look_up(self, query: dns.message.Message, response: dns.message.Message) -> None:
        question = query.question[0]
        name, kind = question.name.canonicalize(), question.rdtype
        text = name.to_text(omit_final_dot=True)
        soa = dns.rrset.from_text(self.zone, 60, "IN", "SOA", f"ns1.{self.zone} admin.{self.zone} 1 60 60 60 60")
        if not name.is_subdomain(self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
            return
        answers: list[dns.rrset.RRset] = []
        if text in self.aliases:
            answers.append(dns.rrset.from_text(name, 60, "IN", "CNAME", f"{self.aliases[text]}."))
        elif kind == dns.rdatatype.SOA and name == self.zone:
            answers.append(soa)
        elif kind == dns.rdatatype.NS and name == self.zone:
            answers.append(dns.rrset.from_text(name, 60, "IN", "NS", f"ns1.{self.zone}"))
        elif kind == dns.rdatatype.A:
            own = self.address if text.startswith("ns1.") else "127.0.0.1"
            answers.append(dns.rrset.from_text(name, 60, "IN", "A", own))
        elif kind == dns.rdatatype.TXT and self.records.get(text):
            if self.hidden:
                self.hidden -= 1
            else:
                answers.append(dns.rrset.from_text(name, 60, "IN", "TXT", *[f'"{it}"' for it in self.records[text]]))
        response.answer += answers
        if not answers:
            response.authority.append(soa)
