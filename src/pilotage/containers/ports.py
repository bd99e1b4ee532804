"""Maps between the ports that a container listens on and those that the host publishes (LABELS II.3.4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.engine.types import Port

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.engine.types import PortBinding

__all__ = ["NO_PORTS", "PortMapping", "exposed_ports", "is_loopback", "is_valid", "map_ports", "ports_from_inspect"]

_HIGHEST: Final = 65535


class PortMapping(msgspec.Struct, gc=False, frozen=True):
    """A container's ports in both directions. Each value is the engine's complete entry.

    Attributes:
        public: port on the host -> entry, published ports only.
        private: port in the container -> entry.

    """

    public: dict[int, Port]
    private: dict[int, Port]


NO_PORTS: Final = PortMapping({}, {})


def map_ports(entries: Iterable[Port] | None) -> PortMapping:
    """Index an engine's list of ports by public and by private number.

    Engines list ports in no stable order and repeat a published port for IPv6. Of several entries for one number, a
    published protocol wins over an unpublished one, TCP over UDP, any other address over loopback, IPv4 over IPv6, and
    finally the higher number over the lower one. If one protocol has a published and an unpublished entry, the later
    one in the list wins.
    """
    if not entries:
        return NO_PORTS
    public: dict[int, Port] = {}
    private: dict[int, Port] = {}
    for entry in entries:
        number = entry.PrivatePort
        if not is_valid(entry):
            continue
        known = private.get(number)
        if known is None or _replaces(entry, known):
            private[number] = entry
        number = entry.PublicPort
        if number:
            known = public.get(number)
            if known is None or _replaces(entry, known):
                public[number] = entry
    return PortMapping(public, private)


def is_valid(entry: Port) -> bool:
    """Return whether an entry's numbers are port numbers. The public number of an unpublished port is 0."""
    return 0 < entry.PrivatePort <= _HIGHEST and 0 <= entry.PublicPort <= _HIGHEST


def _replaces(entry: Port, known: Port) -> bool:
    is_published = bool(entry.PublicPort)
    differ = is_published is not bool(known.PublicPort)
    if (entry.Type == "udp") is not (known.Type == "udp"):
        return is_published if differ else known.Type == "udp"
    if differ or not is_published:
        return True
    if is_loopback(entry.IP) is not is_loopback(known.IP):
        return is_loopback(known.IP)  # other machines cannot reach a port on loopback
    if (":" in entry.IP) is not (":" in known.IP):
        return ":" in known.IP
    return (entry.PublicPort, entry.PrivatePort, entry.IP) >= (known.PublicPort, known.PrivatePort, known.IP)


def is_loopback(address: str) -> bool:
    """Return whether an address is a loopback address, which only programs on the same machine can reach."""
    return address.startswith("127.") or address == "::1"


def is_port(text: str) -> bool:
    """Return whether a text is a port number, 1 to 65535."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= _HIGHEST


def exposed_ports(keys: Iterable[str]) -> list[Port]:
    """Return the sorted ports in the keys of ``Config.ExposedPorts`` (``"8096/tcp"``); skip ranges and garbage."""
    found = []
    for key in keys:
        number, _, protocol = key.partition("/")
        if is_port(number):
            found.append(Port(PrivatePort=int(number), Type=protocol or "tcp"))
    return sorted(found, key=lambda port: (port.PrivatePort, port.Type))


def ports_from_inspect(bindings: Mapping[str, list[PortBinding] | None]) -> list[Port]:
    """Return the ports in an inspection's ``NetworkSettings.Ports``, including ports that some engines do not list.

    Podman lists only the first port of a published range, and only one protocol of a port published for TCP and UDP.
    """
    found = []
    for port in exposed_ports(bindings):
        published = [
            Port(port.PrivatePort, int(binding.HostPort), port.Type, binding.HostIp)
            for binding in bindings.get(f"{port.PrivatePort}/{port.Type}") or ()
            if is_port(binding.HostPort)
        ]
        found.extend(published or [port])
    return found
