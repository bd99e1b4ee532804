from __future__ import annotations

from typing import Any

import pytest
import requests
from acme import errors, messages

from pilotage.certificates.failures import failure_of, failure_of_names


class Source:
    name = "ca.example.com"
    retry_after = 0.0


def refused(code: str, detail: str = "", **more: Any) -> messages.Error:
    found: messages.Error = messages.Error.from_json(
        {"type": f"urn:ietf:params:acme:error:{code}", "detail": detail or "no", **more}
    )
    return found


def test_the_cas_own_words_come_first() -> None:
    error = failure_of(refused("caa", "CAA record for example.com prevents issuance."), Source())
    assert error.what == "ca.example.com: CAA record for example.com prevents issuance (caa)"
    assert "CAA records" in error.hint


def test_a_rate_limit_is_waited_for_and_another_ca_may_help() -> None:
    error = failure_of(refused("rateLimited", "too many certificates"), Source())
    assert (error.retry_after, error.elsewhere) == (3600.0, True)
    source = Source()
    source.retry_after = 7.0
    assert failure_of(refused("rateLimited"), source).retry_after == 7.0


def test_names_that_a_ca_rejects_are_blamed_alone() -> None:
    problem = {
        "type": "urn:ietf:params:acme:error:rejectedIdentifier",
        "detail": "policy forbids it",
        "identifier": {"type": "dns", "value": "bad.example.com"},
    }
    error = failure_of(refused("compound", "some names", subproblems=[problem]), Source())
    assert error.names == {"bad.example.com"}
    assert "bad.example.com: policy forbids it" in error.what


def test_a_deactivated_account_has_its_own_remedy() -> None:
    error = failure_of(refused("unauthorized", "Account is not valid, has status deactivated"), Source())
    assert "remove its file from the folder accounts" in error.hint


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (requests.ConnectionError(OSError(111, "Connection refused")), "cannot reach ca.example.com: "),
        (requests.Timeout(), "did not respond in time"),
        (requests.exceptions.SSLError(OSError("certificate has expired")), "is not trusted: certificate has expired"),
        (errors.TimeoutError(), "did not respond in time"),
        (ValueError("no JSON"), "sent an invalid response: no JSON"),
        (errors.IssuanceError(refused("caa", "forbidden")), "forbidden (caa)"),
    ],
)
def test_problems_on_the_way_are_explained(error: Exception, message: str) -> None:
    assert message in failure_of(error, Source()).what


def test_a_certificate_of_the_ca_that_seems_expired_can_be_due_to_our_clock() -> None:
    for why in ("certificate has expired", "certificate is not yet valid"):
        error = failure_of(requests.exceptions.SSLError(OSError(why)), Source())
        assert "check this machine's clock, which shows 20" in error.hint
    error = failure_of(requests.exceptions.SSLError(OSError("self-signed certificate")), Source())
    assert error.hint == "add the CA's own CA to ca_certs"


def test_a_status_without_a_problem_document_is_explained() -> None:
    response = requests.Response()
    response.status_code, response.reason = 429, "Too Many Requests"
    error = failure_of(errors.ClientError(response), Source())
    assert error.what == "ca.example.com responded with the status 429 Too Many Requests"
    assert (error.retry_after, error.elsewhere) == (3600.0, True)
    response.status_code = 502
    assert failure_of(errors.ClientError(response), Source()).retry_after == 0.0


def test_failed_validations_say_what_to_check() -> None:
    error = failure_of_names({"a.example.com": refused("connection", "Timeout")}, Source(), "http-01")
    assert error.what == "ca.example.com could not validate a.example.com: Timeout (connection)"
    assert error.hint.endswith("can reach its port: 80")
    assert error.names == {"a.example.com"}
    assert (error.validated, error.elsewhere) == (True, False)
    assert failure_of_names({"a": refused("connection")}, Source(), "tls-alpn-01").hint.endswith(": 443")
    two = failure_of_names({"a": refused("dns"), "b": refused("dns")}, Source(), "dns-01")
    assert "(and 1 more)" in two.what
    assert "token may edit the zone" in two.hint
