from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pilotage.certificates.errors import RenewalRefusedError
from pilotage.certificates.requests import RenewalRequests
from pilotage.certificates.state import Failure
from pilotage.certificates.status import CertificateStatus


def requests(**fields: Any) -> tuple[RenewalRequests, SimpleNamespace]:
    renewed: list[set[str]] = []
    wildcard = CertificateStatus(names=("*.example.com", "example.com"), state="valid")
    old = CertificateStatus(names=("old.example.org",), state="valid")
    manager = SimpleNamespace(
        managed_names=frozenset({"a.example.com"}),
        failures={},
        leads=True,
        now=1_000.0,
        status=lambda: (wildcard, old),
        renew=renewed.append,
        renewed=renewed,
    )
    vars(manager).update(fields)
    return RenewalRequests(cast("Any", manager)), manager


def test_a_name_below_a_wildcard_renews_the_wildcard() -> None:
    asked, manager = requests()
    (status,) = asked.request("a.example.com")
    assert status.names == ("*.example.com", "example.com")
    assert manager.renewed == [{"*.example.com", "example.com"}]


@pytest.mark.parametrize("name", ["b.a.example.com", "old.example.org", "unknown"])
def test_only_certificates_that_a_route_needs_are_renewed(name: str) -> None:
    asked, manager = requests()
    with pytest.raises(RenewalRefusedError, match="no route needs a certificate") as refused:
        asked.request(name)
    assert (refused.value.reason, manager.renewed) == ("unknown", [])


def test_the_process_that_does_not_renew_refuses() -> None:
    asked, _ = requests(leads=False)
    with pytest.raises(RenewalRefusedError, match="cannot obtain certificates now") as refused:
        asked.request("example.com")
    assert refused.value.reason == "elsewhere"


def test_requests_keep_a_pause_and_what_the_ca_asked_for() -> None:
    asked, manager = requests()
    asked.request("example.com")
    manager.now += 719
    with pytest.raises(RenewalRefusedError, match="less than 12 minutes ago") as refused:
        asked.request("a.example.com")
    assert refused.value.wait == 1.0
    manager.now += 2
    manager.failures["example.com"] = Failure(1, manager.now, 0.0, "slow down", closed_until=manager.now + 50)
    with pytest.raises(RenewalRefusedError, match="the CA allows no other attempt before 1970") as refused:
        asked.request("example.com")
    assert refused.value.wait == 50.0
    manager.now += 51
    asked.request("example.com")
    assert len(manager.renewed) == 2
