"""Parses certificates for messages, because ``ssl`` describes only certificates that it accepts.

Reads just enough DER (X.690, RFC 5280) for names, dates and purposes. Makes no trust decisions.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Certificate", "parse_certificates", "read_certificate", "read_certificates"]

_SEQUENCE: Final = 0x30
_OID: Final = 0x06
_OCTETS: Final = 0x04
_UTC_TIME: Final = 0x17
_VERSION: Final = 0xA0
_EXTENSIONS: Final = 0xA3
_DNS_NAME: Final = 0x82
_IP_ADDRESS: Final = 0x87

_COMMON_NAME: Final = bytes.fromhex("550403")
_ORGANISATION: Final = bytes.fromhex("55040a")
_ALTERNATIVE_NAMES: Final = bytes.fromhex("551d11")
_PURPOSES: Final = bytes.fromhex("551d25")
_FOR_CLIENTS: Final = bytes.fromhex("2b06010505070302")
_FOR_ANYTHING: Final = bytes.fromhex("551d2500")


class Certificate(msgspec.Struct, frozen=True):
    """The readable parts of an X.509 certificate.

    Attributes:
        subject: the subject's common name, or else its organization, or else ``"nobody"``.
        issuer: the issuer's name, chosen in the same way.
        not_before, not_after: validity period, UTC.
        names: host names and IP addresses for which the certificate is valid.
        for_clients: whether clients may use the certificate; a certificate without purposes is valid for all purposes.

    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...] = ()
    for_clients: bool = True


def read_certificates(path: str) -> list[Certificate]:
    """Return all certificates in a PEM file; an empty list if it is unreadable."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123
            return parse_certificates(file.read())
    except OSError:
        return []


def parse_certificates(text: str) -> list[Certificate]:
    """Return all certificates in a text in PEM form that can be parsed."""
    end = ssl.PEM_FOOTER
    found = []
    for block in text.split(end)[:-1]:
        _, start, body = block.partition(ssl.PEM_HEADER)
        try:
            found.append(read_certificate(ssl.PEM_cert_to_DER_cert(start + body + end)))
        except ValueError:
            continue
    return found


def read_certificate(der: bytes) -> Certificate:
    """Parse a DER certificate.

    Raises:
        ValueError: the data is not a certificate.

    """
    try:
        return _read(der)
    except (IndexError, StopIteration, UnicodeDecodeError) as error:
        raise ValueError("not a certificate") from error


def _read(der: bytes) -> Certificate:
    _, certificate = next(_parts(der))
    _, signed = next(_parts(certificate))
    parts = [part for part in _parts(signed) if part[0] != _VERSION]
    _serial, _algorithm, issuer, validity, subject, _key, *rest = parts
    not_before, not_after = (_moment(tag, value) for tag, value in _parts(validity[1]))
    extensions = dict(_extensions(rest))
    purposes = [value for _, value in _inside(extensions.get(_PURPOSES, b""))]
    return Certificate(
        _name(subject[1]),
        _name(issuer[1]),
        not_before,
        not_after,
        tuple(_names(extensions.get(_ALTERNATIVE_NAMES, b""))),
        not purposes or _FOR_CLIENTS in purposes or _FOR_ANYTHING in purposes,
    )


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the tag and content of each DER element in ``data``."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size]), at + size
        if at + length > len(data):
            raise IndexError
        yield tag, data[at : at + length]
        at += length


def _inside(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the elements of the sequence in ``data``; nothing if ``data`` is empty."""
    return _parts(next(_parts(data))[1]) if data else iter(())


def _moment(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # two-digit year, 1950 to 2049 (RFC 5280)
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _name(data: bytes) -> str:
    found: dict[bytes, str] = {}
    for _, group in _parts(data):
        for _, attribute in _parts(group):
            (_, kind), (_, value) = _parts(attribute)
            found[kind] = value.decode(errors="replace")
    return found.get(_COMMON_NAME) or found.get(_ORGANISATION) or ", ".join(found.values()) or "nobody"


def _extensions(rest: list[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for tag, value in rest:
        if tag == _EXTENSIONS:
            for _, extension in _inside(value):
                parts = list(_parts(extension))
                yield parts[0][1], parts[-1][1]


def _names(data: bytes) -> Iterator[str]:
    for tag, value in _inside(data):
        if tag == _DNS_NAME:
            yield value.decode(errors="replace")
        elif tag == _IP_ADDRESS:
            yield str(ipaddress.ip_address(value))
