"""Two ends of a DTLS connection in memory: the handshake, lost and forged packets, datagrams, and the end."""

from __future__ import annotations

import ssl

import pytest

from pilotage.engine.credentials import AGENT_NAME, Credentials, CredentialsError
from pilotage.engine.dtls_end import LARGEST_DATAGRAM, DTLSEnd, dtls_context
from tests.support.agents import AgentCertificates

MADE = AgentCertificates()


def client(made: AgentCertificates = MADE, *, ca: bytes = MADE.ca, name: str = AGENT_NAME) -> DTLSEnd:
    return DTLSEnd(dtls_context(Credentials(ca, made.cert, made.key)), name)


def server(made: AgentCertificates = MADE) -> DTLSEnd:
    return DTLSEnd(dtls_context(made.for_udp(), is_server=True))


def shake_hands(one: DTLSEnd, two: DTLSEnd) -> None:
    """Let two ends exchange packets until both have nothing to send."""
    one.begin()
    while packets := one.packets():
        for packet in packets:
            assert len(packet) <= 1213
            two.receive(packet)
        for packet in two.packets():
            one.receive(packet)


def open_ends() -> tuple[DTLSEnd, DTLSEnd]:
    one, two = client(), server()
    shake_hands(one, two)
    assert one.is_open
    assert two.is_open
    return one, two


def pass_on(one: DTLSEnd, two: DTLSEnd) -> list[bytes]:
    return [datagram for packet in one.packets() for datagram in two.receive(packet)]


def test_datagrams_of_all_sizes_arrive() -> None:
    one, two = open_ends()
    for size in (1, 1200, 9000, LARGEST_DATAGRAM):
        one.send(bytes(size))
        two.send(bytes(size))
        assert pass_on(one, two) == pass_on(two, one) == [bytes(size)]
    with pytest.raises(ssl.SSLError, match="too large"):
        one.send(bytes(LARGEST_DATAGRAM + 1))


def test_forged_repeated_and_reordered_packets_do_no_harm() -> None:
    one, two = open_ends()
    for datagram in (b"a", b"b", b"c"):
        one.send(datagram)
        (packet,) = one.packets()
        forged = packet[:-1] + bytes((packet[-1] ^ 1,))
        assert two.receive(forged) == two.receive(b"") == two.receive(b"noise") == []
        assert two.receive(packet) == [datagram]
        assert two.receive(packet) == []
    one.send(b"late")
    (late,) = one.packets()
    one.send(b"early")
    assert pass_on(one, two) == [b"early"]
    assert two.receive(late) == [b"late"]


def test_a_lost_packet_of_the_handshake_is_due_again_after_a_second() -> None:
    one = client()
    assert one.patience is None
    one.begin()
    assert one.packets()  # lost
    assert one.patience is not None
    assert 0.5 < one.patience <= 1
    one.repeat()
    assert one.packets() == []  # not yet


def test_the_end_is_announced() -> None:
    one, two = open_ends()
    one.end()
    assert pass_on(one, two) == []
    assert two.has_ended
    assert two.receive(b"anything") == []


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (lambda: client(ca=AgentCertificates().ca), "certificate verify failed"),
        (lambda: client(name="other.example"), "the certificate is not for other.example"),
    ],
)
def test_a_server_that_is_not_the_agent_is_refused(one: object, why: str) -> None:
    with pytest.raises(ssl.SSLError, match=why) as found:
        shake_hands(one(), server())  # type: ignore[operator]
    assert found.value.reason == why


def test_a_client_of_another_ca_is_refused() -> None:
    with pytest.raises(ssl.SSLError):
        shake_hands(client(AgentCertificates()), server())


def test_expired_certificates_are_refused() -> None:
    expired = AgentCertificates(expired=True)
    with pytest.raises(ssl.SSLError):
        shake_hands(client(expired, ca=expired.ca), server(expired))


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(b"", MADE.cert, MADE.key),
        Credentials(MADE.ca, b"nonsense", MADE.key),
        Credentials(MADE.ca, MADE.cert, b"nonsense"),
        Credentials(MADE.ca, MADE.cert, AgentCertificates().key),
    ],
)
def test_credentials_that_cannot_be_used(credentials: Credentials) -> None:
    with pytest.raises(CredentialsError, match="its certificates cannot be used for udp"):
        dtls_context(credentials)
