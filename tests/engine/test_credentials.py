"""What a client of an agent needs, and that no key is shown."""

from __future__ import annotations

from pilotage.engine.credentials import Credentials, CredentialsError
from tests.support.agents import AgentCertificates


def test_no_repr_shows_a_key() -> None:
    made = AgentCertificates()
    credentials = Credentials(made.ca, made.cert, made.key)
    assert "PRIVATE" not in f"{credentials!r} {[credentials]}"
    assert credentials.client is not None
    assert credentials.client.not_after.year > 3000


def test_what_is_no_certificate_has_no_dates() -> None:
    assert Credentials(b"", b"x", b"").client is None


def test_an_error_says_what_to_do() -> None:
    error = CredentialsError("it is broken", "replace it")
    assert (str(error), error.what, error.remedy) == ("it is broken", "it is broken", "replace it")
