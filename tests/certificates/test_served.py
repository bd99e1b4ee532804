from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.certificates.served import served_certificates
from tests.support.certificates import DAY, stored

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


def test_each_name_gets_the_valid_certificate_that_expires_last(tmp_path: Path) -> None:
    old = stored(tmp_path, "a.example.com", "b.example.com", now=NOW - 10 * DAY)
    new = stored(tmp_path, "a.example.com", now=NOW)
    served = served_certificates([old, new], ["a.example.com", "b.example.com"], NOW)
    found = {it.names: it.pair.chain_pem for it in served}
    assert found == {frozenset({"a.example.com"}): new.chain, frozenset({"b.example.com"}): old.chain}


def test_certificates_that_are_not_valid_are_served_only_if_there_is_no_other(tmp_path: Path) -> None:
    expired = stored(tmp_path, "a.example.com", now=NOW - 40 * DAY)
    early = stored(tmp_path, "a.example.com", now=NOW + 40 * DAY)
    valid = stored(tmp_path, "a.example.com", now=NOW)
    for found, best in (([expired, early, valid], valid), ([expired, early], early), ([expired], expired)):
        (served,) = served_certificates(found, ["a.example.com"], NOW)
        assert served.pair.chain_pem == best.chain


def test_certificates_that_no_name_needs_are_left_out(tmp_path: Path) -> None:
    assert served_certificates([stored(tmp_path, "b.example.com", now=NOW)], ["a.example.com"], NOW) == []


def test_a_wildcard_is_served_for_names_below_it(tmp_path: Path) -> None:
    wildcard = stored(tmp_path, "*.example.com", now=NOW)
    (found,) = served_certificates([wildcard], ["a.example.com"], NOW)
    assert found.names == {"*.example.com"}
