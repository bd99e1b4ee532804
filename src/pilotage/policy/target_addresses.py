"""Classifies hosts and addresses to decide where routes may point. Pure.

Any spelling that a resolver accepts as an address counts as that address: ``127.1``, ``0x7f000001`` and ``2130706433``
are ``127.0.0.1``. An IPv6 address that stands for an IPv4 address (mapped, NAT64, 6to4, ...) has the kind of that IPv4
address.
"""

from __future__ import annotations

import ipaddress
import json
import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.policy.claims import Claimant
from pilotage.policy.globs import matches_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "KIND_NAMES",
    "AddressKind",
    "Reach",
    "address_kind",
    "hint_for",
    "is_ordinary",
    "is_target_glob",
    "leads_here",
    "matches_target",
    "parse_address",
    "same_host",
    "special_kind",
    "spellings",
]

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

AddressKind = Literal["", "loopback", "unspecified", "link-local", "multicast", "metadata"]
"""Containers may freely use addresses of the kind ``""``. For the other kinds, they need a policy rule."""

KIND_NAMES: Final[dict[AddressKind, str]] = {
    "": "another machine's address",
    "loopback": "a loopback address, which is only for services on this machine",
    "unspecified": "not the address of a particular machine",
    "link-local": "a link-local address, where cloud metadata services listen",
    "multicast": "a multicast or broadcast address",
    "metadata": "the address of a cloud's metadata service",
}
"""Names of the kinds in problems."""

_BYTE: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FIRST: Final = r"(?:22[0-3]|2[01][0-9]|1[013-9][0-9]|12[0-689]|[1-9][0-9]?)"  # neither 0, 127, 224 nor above
_ORDINARY: Final = re.compile(rf"(?!169\.254\.|168\.63\.129\.16$|100\.100\.100\.200$){_FIRST}(?:\.{_BYTE}){{3}}")

_METADATA: Final = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"))
)
"""Cloud metadata services outside the link-local range: Alibaba, Azure, and AWS and Google over IPv6."""

_NUMBER: Final = r"(?:0[xX][0-9a-fA-F]*|[0-9]+)"
_NUMERIC: Final = re.compile(rf"{_NUMBER}(?:\.{_NUMBER}){{0,3}}\.?")
_LOCALHOST: Final = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback"}
)
_LOOPBACK: Final = ipaddress.ip_address("127.0.0.1")


def is_ordinary(host: str) -> bool:
    """Return whether a host is an IPv4 address in its usual spelling that needs no rule. Most hosts are."""
    return _ORDINARY.fullmatch(host) is not None


@lru_cache(maxsize=1024)
def parse_address(host: str) -> IPAddress | None:
    """Parse an address in any spelling that resolvers accept; return ``None`` for a name.

    A zone (``fe80::1%eth0``) and brackets are ignored. ``localhost`` and names below it are ``127.0.0.1`` (RFC 6761).

    Args:
        host: the host as written.

    """
    text = unicodedata.normalize("NFKC", host).strip().removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    if _NUMERIC.fullmatch(text):
        return _from_numbers(text.removesuffix("."))
    name = text.lower().rstrip(".")
    return _LOOPBACK if name in _LOCALHOST or name.endswith(".localhost") else None


def _from_numbers(text: str) -> IPAddress | None:
    """Return the IPv4 address in one to four numbers of any base. The last number fills all remaining bytes."""
    try:
        numbers = [_number(part) for part in text.split(".")]
    except ValueError:
        return None
    *heads, tail = numbers
    if any(head > 255 for head in heads) or tail >= 256 ** (4 - len(heads)):
        return None
    return ipaddress.IPv4Address(sum(head << 8 * (3 - place) for place, head in enumerate(heads)) + tail)


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8) if text.startswith("0") else int(text[:24])  # a number with more digits is not an address


def spellings(address: IPAddress) -> Iterator[IPAddress]:
    """Yield an address and the IPv4 addresses that it stands for."""
    yield address
    if address.version == 4:
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    number = int(address)
    low = ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if (number >> 32 == 0 and number > 1) or any(address in network for network in _LAST_32_BITS):
        yield low
    if number >> 32 & 0xFCFFFFFF == 0x5EFE:  # ISATAP (RFC 5214), which can be in any network
        yield low


_LAST_32_BITS: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")))
"""Networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, RFC 8215) and SIIT (RFC 2765)."""


def address_kind(address: IPAddress) -> AddressKind:
    """Return the kind of an address or, if only that needs a rule, of the IPv4 address that it stands for."""
    return next(filter(None, map(_kind, spellings(address))), "")


def _kind(address: IPAddress) -> AddressKind:
    if address.is_loopback:
        return "loopback"
    if address.is_unspecified or (address.version == 4 and int(address) >> 24 == 0):
        return "unspecified"
    if address.is_link_local:
        return "link-local"
    if address in _METADATA:
        return "metadata"
    if address.is_multicast or (address.version == 4 and int(address) >> 28 == 15):
        return "multicast"
    return ""


def special_kind(host: str) -> AddressKind:
    """Return the kind of a host that is an address in any spelling; ``""`` for names, which must be resolved first."""
    if is_ordinary(host):
        return ""
    address = parse_address(host)
    return address_kind(address) if address is not None else ""


def same_host(one: str, other: str) -> bool:
    """Return whether two hosts are the same address, in any spelling, or the same name."""
    if one == other:
        return True
    first, second = parse_address(one), parse_address(other)
    if first is None or second is None:
        return first is second and _name(one) == _name(other)
    return not set(spellings(first)).isdisjoint(spellings(second))


def _name(host: str) -> str:
    return host.lower().rstrip(".")


# ---- globs of rules --------------------------------------------------------------------------------------------------


_GLOB: Final = re.compile(
    r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^:\[\]]+)|(?P<bare>[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:/[0-9]{1,3})?))"
    r"(?::(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?)?"
)


_NAME_GLOB: Final = re.compile(r"[\w*?-]+(?:\.[\w*?-]+)*")


class _TargetGlob(msgspec.Struct, frozen=True):
    """A parsed glob: a network or a glob of names, with a range of ports."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    name: str
    low: int
    high: int


@lru_cache(maxsize=512)
def _parse_glob(glob: str) -> _TargetGlob | None:
    try:  # an IPv6 address or network without brackets has no port
        return _TargetGlob(ipaddress.ip_network(glob, strict=False), "", 0, 65535)
    except ValueError:
        pass
    match = _GLOB.fullmatch(glob)
    if match is None:
        return None
    low = int(match["low"] or 0)
    high = int(match["high"] or match["low"] or 65535)
    host = match["bracketed"] or match["host"] or match["bare"]
    if not low <= high <= 65535:
        return None
    try:
        return _TargetGlob(ipaddress.ip_network(host, strict=False), "", low, high)
    except ValueError:
        is_name = match["host"] is not None and _NAME_GLOB.fullmatch(host)
        return _TargetGlob(None, host, low, high) if is_name else None


def is_target_glob(glob: str) -> bool:
    """Return whether a text is a glob of targets.

    A glob of targets is a host, a glob of host names, an address or a network, optionally with a port or a range of
    ports: ``10.0.0.0/8``, ``nas.lan:5000-5010``, ``*.internal``, ``[fd00::/8]:443``.
    """
    return _parse_glob(glob) is not None


def matches_target(glob: str, host: str, port: int) -> bool:
    """Return whether a glob of targets matches a host and port.

    Globs of names (``*.internal``) match names, and ``*`` also matches every address that needs no rule. Loopback and
    other special addresses are matched only by an address, by a network of their kind, or by ``localhost``, so that a
    broad rule does not open them by accident.

    Args:
        glob: see :func:`is_target_glob`.
        host: a name, or an address in any spelling.
        port: 1 to 65535.

    """
    parsed = _parse_glob(glob)
    if parsed is None or not parsed.low <= port <= parsed.high:
        return False
    address = parse_address(host)
    if parsed.network is not None:
        return address is not None and _is_in(address, parsed.network)
    if address is None:
        return parsed.name == "*" or matches_host(parsed.name, _name(host))
    if parsed.name == "*":
        return address_kind(address) == ""
    return parse_address(parsed.name) == _LOOPBACK and address in _LOCALHOSTS


_LOCALHOSTS: Final = (_LOOPBACK, ipaddress.ip_address("::1"))


def _is_in(address: IPAddress, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    """Return whether a network contains an address. A special address must be in a network of only its kind."""
    found = any(one.version == network.version and one in network for one in spellings(address))
    if not found or not address_kind(address):
        return found
    ends = (address_kind(network.network_address), address_kind(network.broadcast_address))
    return ends[0] == ends[1] == address_kind(address)


# ---- what a container may reach without a rule -----------------------------------------------------------------------


class Reach(msgspec.Struct, frozen=True):
    """The addresses at which one target port belongs to a container.

    Attributes:
        claimant: the container.
        addresses: the addresses at which the port belongs to the container itself: its address, and those on which its
            engine publishes the port.
        this_host: IP versions (4 and 6) for which the port also belongs to the container on loopback and on all
            addresses of this machine, because the container uses host networking or its engine publishes the port on
            all addresses of that version.

    """

    claimant: Claimant
    addresses: tuple[str, ...] = ()
    this_host: frozenset[int] = frozenset()

    def __hash__(self) -> int:  # the claimant's labels cannot be hashed
        return hash((self.addresses, self.this_host))

    def owns(self, host: str, is_local: Callable[[str], bool]) -> bool:
        """Return whether the port on a host is the container's own.

        Args:
            host: a name, or an address in any spelling.
            is_local: whether an address in canonical form belongs to this machine and is not loopback.

        """
        if any(same_host(host, own) for own in self.addresses):
            return True
        if not self.this_host or special_kind(host) == "unspecified" or not leads_here(host, is_local):
            return False
        address = parse_address(host)
        # Connections to an IPv6 address that stands for an IPv4 address go to the IPv4 address.
        return address is not None and min(each.version for each in spellings(address)) in self.this_host


def leads_here(host: str, is_local: Callable[[str], bool]) -> bool:
    """Return whether connections to a host end on this machine; ``False`` for a name.

    Args:
        host: a name, or an address in any spelling.
        is_local: whether an address in canonical form belongs to this machine and is not loopback.

    """
    if is_ordinary(host):
        return is_local(host)
    address = parse_address(host)
    if address is None:
        return False
    return any(each.is_loopback or each.is_unspecified or is_local(str(each)) for each in spellings(address))


_PLAIN: Final = re.compile(r"[\w./:@-]{1,200}", re.ASCII)


def hint_for(claimant: Claimant, host: str, port: int) -> str:
    """Return a hint with the configuration line that lets this container and its replicas use a target.

    Args:
        claimant: the container.
        host: a name, or an address in any spelling.
        port: the target's port.

    """
    given = {"engine": claimant.engine}
    if claimant.service:
        given |= {"project": claimant.project, "service": claimant.service}
    else:
        given |= {"image": claimant.image}
    if not all(_PLAIN.fullmatch(value) for value in given.values() if value):
        return "remove the host label, or allow the target with a rule of the policy"
    address = parse_address(host)
    shown = f"[{address}]" if address is not None and address.version == 6 else str(address or host)
    who = ", ".join(f"{key}: {json.dumps(value)}" for key, value in given.items() if value)
    rule = f'{{who: {{{who}}}, may: {{targets: ["{shown}:{port}"]}}}}'
    return f"remove the host label, or add to the configuration: policy: [{rule}]"
