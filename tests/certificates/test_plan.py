from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.certificates.plan import covers, lineage_name, plan, why_not_public
from tests.support.certificates import CA, DAY, DNS, entry, stored

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    "name",
    [
        *("localhost", "shop.localhost", "nas.local", "nas.lan", "shop", "10.0.0.1", "::1", "router.home.arpa"),
        *("a.internal", "a..com", "-a.com", "a-.com", "*", "*.*.com", "a.*.com", "a_b.com", "x" * 64 + ".com"),
        ".".join(["x" * 50] * 6) + ".com",
    ],
)
def test_no_public_ca_is_asked_for_a_local_or_invalid_name(name: str) -> None:
    assert why_not_public(name)


@pytest.mark.parametrize("name", ["example.com", "*.example.com", "xn--bcher-kva.example.com", "a.b.c.example.co.uk"])
def test_public_names_are_accepted(name: str) -> None:
    assert why_not_public(name) == ""


def test_a_private_ca_also_issues_for_local_names() -> None:
    for name in ("nas.lan", "nas.local", "shop", "shop.localhost"):
        assert why_not_public(name, private=True) == ""
    assert why_not_public("10.0.0.1", private=True)


def test_listed_domains_get_one_certificate(tmp_path: Path) -> None:
    main = entry("b.example.com", "a.example.com")
    (job,) = plan([main], {}, [], now=NOW)
    assert job.names == ("a.example.com", "b.example.com")
    assert job.lineage == "a.example.com"
    assert not job.renewal
    have = stored(tmp_path, "a.example.com", "b.example.com", now=NOW)
    assert plan([main], {}, [have], now=NOW) == []
    (again,) = plan([main], {}, [have], due=[have.lineage], now=NOW)
    assert (again.lineage, again.renewal) == (have.lineage, True)


def test_listed_domains_wait_while_one_of_them_may_not_be_requested(tmp_path: Path) -> None:
    main = entry("a.example.com", "b.example.com")
    assert plan([main], {}, [], held=["b.example.com"], now=NOW) == []


def test_another_list_or_another_ca_needs_another_certificate(tmp_path: Path) -> None:
    have = stored(tmp_path, "a.example.com", now=NOW)
    (job,) = plan([entry("a.example.com", "b.example.com")], {}, [have], now=NOW)
    assert job.lineage == "a.example.com-0001"
    elsewhere = stored(tmp_path, "a.example.com", now=NOW, directory="https://staging.example.com/dir")
    (job,) = plan([entry("a.example.com")], {}, [elsewhere], now=NOW)
    assert not job.renewal


def test_a_certificate_from_files_is_used_until_it_is_due(tmp_path: Path) -> None:
    have = stored(tmp_path, "a.example.com", now=NOW, directory="")
    assert plan([entry("a.example.com")], {}, [have], now=NOW) == []


def test_names_of_routes_are_grouped_by_domain(tmp_path: Path) -> None:
    names = [f"s{number}.example.com" for number in range(30)] + ["other.example.org"]
    jobs = plan([entry()], {"main": names}, [], now=NOW)
    assert sorted(len(job.names) for job in jobs) == [1, 5, 25]
    assert len({job.lineage for job in jobs}) == 3
    assert {name for job in jobs for name in job.names} == set(names)


def test_a_new_name_leaves_the_certificates_of_the_others_alone(tmp_path: Path) -> None:
    have = stored(tmp_path, "a.example.com", "b.example.com", now=NOW)
    wanted = {"main": ["a.example.com", "b.example.com", "c.example.com"]}
    (job,) = plan([entry()], wanted, [have], now=NOW)
    assert job.names == ("c.example.com",)


def test_a_renewal_keeps_only_names_that_are_still_wanted(tmp_path: Path) -> None:
    have = stored(tmp_path, "a.example.com", "b.example.com", now=NOW)
    (job,) = plan([entry()], {"main": ["b.example.com"]}, [have], due=[have.lineage], now=NOW)
    assert (job.names, job.lineage, job.renewal) == (("b.example.com",), have.lineage, True)
    assert plan([entry()], {"main": []}, [have], due=[have.lineage], now=NOW) == []


def test_an_expired_certificate_is_renewed_under_its_name(tmp_path: Path) -> None:
    have = stored(tmp_path, "a.example.com", now=NOW - 40 * DAY)
    for main, wanted in ((entry("a.example.com"), {}), (entry(), {"main": ["a.example.com"]})):
        (job,) = plan([main], wanted, [have], due=[have.lineage], now=NOW)
        assert job.lineage == have.lineage


def test_no_name_is_in_two_orders(tmp_path: Path) -> None:
    wanted = {"main": ["a.example.com", "b.example.com"], "extra[0]": ["a.example.com"]}
    jobs = plan([entry(), entry(name="extra[0]")], wanted, [], held=["b.example.com"], now=NOW)
    assert [job.names for job in jobs] == [("a.example.com",)]


def test_a_dns_challenge_gives_one_wildcard_below_each_of_the_operators_domains(tmp_path: Path) -> None:
    main = entry(method="dns-01", dns=DNS)
    wanted = {"main": ["a.example.com", "b.example.com", "x.y.example.com", "shop.example.org"]}
    jobs = plan([main], wanted, [], match_domains=["example.com"], now=NOW)
    names = sorted(name for job in jobs for name in job.names)
    assert names == ["*.example.com", "shop.example.org", "x.y.example.com"]
    have = stored(tmp_path, "*.example.com", now=NOW)
    more = {"main": ["a.example.com", "new.example.com"]}
    assert plan([main], more, [have], match_domains=["example.com"], now=NOW) == []


def test_lineages_have_unique_names_without_wildcards() -> None:
    assert lineage_name(["*.example.com"]) == "example.com"
    assert lineage_name(["example.com"], ["example.com", "example.com-0001"]) == "example.com-0002"


def test_the_ca_of_these_tests_is_the_entrys() -> None:
    assert entry().authorities[0].directory == CA


@pytest.mark.parametrize(
    ("name", "covered"),
    [("a.example.com", True), ("*.example.com", True), ("b.a.example.com", False), ("example.com", False)],
)
def test_a_wildcard_covers_one_label(name: str, covered: bool) -> None:
    assert covers(["*.example.com"], name) is covered
