"""The documentation calls a label working only if a test shows its effect with requests through a real Envoy."""

from __future__ import annotations

import pytest

from pilotage.lint.proved import PROVED
from pilotage.lint.works import has_proof, works_by_label
from pilotage.output.label_reference import entries
from pilotage.routes.middlewares import MIDDLEWARES
from pilotage.xds.middlewares import known_options
from tests.support.proofs import LIST, found_proofs, source_of_list

_WITHOUT_EFFECT = {
    "middlewares.crowdsec.port",
    "middlewares.crowdsec.log_blocked",
    "middlewares.crowdsec.log_only",
    "middlewares.real_ip.recursive",
}
"""Options that are reported to have no effect."""

COMMON = {"middlewares.bypass", "middlewares.priority"}
"""Options of all middlewares."""
OPTIONS = COMMON | {
    f"middlewares.{name}.{option}" for name in set(MIDDLEWARES.values()) for option in known_options(name)
}


def test_the_list_contains_exactly_the_fields_with_a_proof() -> None:
    assert LIST.read_text() == source_of_list(), "run: python -m tests.support.proofs"


def test_proofs_name_fields_that_exist() -> None:
    paths = {entry.label.removeprefix("proxy.<alias>.").removeprefix("proxy.") for entry in entries()}
    known = paths | OPTIONS | {f"middlewares.{name}" for name in MIDDLEWARES.values()}
    assert known >= PROVED


def test_proofs_use_a_real_envoy() -> None:
    without = [proof for proof in found_proofs() if not proof.has_envoy]
    # What homepage changes is seen on the dashboard, which the API serves.
    assert [proof.test for proof in without if not all(it.startswith("homepage.") for it in proof.fields)] == []


def test_every_label_that_the_gateway_accepts_has_a_proof() -> None:
    assert [label for label, answer in works_by_label().items() if "no test shows" in answer] == []


def test_every_option_of_a_middleware_has_a_proof() -> None:
    assert sorted(OPTIONS - _WITHOUT_EFFECT - PROVED) == []


@pytest.mark.parametrize(
    ("label", "proved", "expected"),
    [
        ("proxy.<alias>.hold", {"hold"}, True),
        ("proxy.<alias>.hold", {"holds"}, False),
        ("proxy.<alias>.healthcheck", {"healthcheck.path"}, True),
        ("proxy.<alias>.healthcheck.path", {"healthcheck"}, False),
        ("proxy.idle_timeout", {"idle_timeout"}, True),
        ("proxy.ports", {"port"}, True),
        ("proxy.ports", {"ports"}, False),
        ("middlewares.oidc", {"middlewares.oidc.scopes"}, True),
    ],
)
def test_a_field_is_proved_by_itself_or_a_part_of_it(label: str, proved: set[str], expected: bool) -> None:
    assert has_proof(label, frozenset(proved)) is expected
