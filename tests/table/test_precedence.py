from __future__ import annotations

import itertools

import pytest

from pilotage import Endpoint, Route
from pilotage.table.precedence import Ranking, holder_of, is_draining, is_open, is_ready, successor
from tests.support.claims import SHOP, claim, excluded, static

RANKING = Ranking(["one", "two"])


def test_a_container_holds_a_name_for_its_service() -> None:
    assert holder_of(claim("web-1", service=SHOP)) == holder_of(claim("web-2", service=SHOP)) == SHOP
    assert holder_of(claim("a")) == ("local", "id-a")


def test_files_come_first_then_holders_then_engines_then_age_then_names() -> None:
    held = [holder_of(claim("held", 9, provider="two")), holder_of(claim("next", 1, provider="one"))]
    order = [
        static("a.yml"),
        static("b.yml"),
        claim("held", 9, provider="two"),
        claim("next", 1, provider="one"),
        claim("b", 5, provider="one"),
        claim("c", 7, provider="one"),
        claim("d", 7, provider="one"),
        claim("old", 1, provider="two"),
        claim("e", 1, provider="another"),
        claim("e", 1, provider="unknown"),
    ]
    for one, other in itertools.pairwise(order):
        assert RANKING.rank(one, held) < RANKING.rank(other, held)


def test_a_file_outranks_a_holder_because_it_is_the_operators() -> None:
    web = claim("web")
    assert RANKING.rank(static("z.yml"), [holder_of(web)]) < RANKING.rank(web, [holder_of(web)])


@pytest.mark.parametrize("created", [0, -1, -(1 << 62)])
def test_an_invalid_time_makes_no_container_older(created: int) -> None:
    assert RANKING.rank(claim("new", 2_000_000_000)) < RANKING.rank(claim("odd", created))


@pytest.mark.parametrize(
    ("winner", "loser", "why"),
    [
        (static("a.yml"), static("b.yml"), "which comes first by name"),
        (static("a.yml"), claim("web"), "and files come before containers"),
        (claim("held", 9), claim("web", 1), "which had it first"),
        (claim("web", 9, provider="one"), claim("web", 1, provider="two"), "whose engine comes first"),
        (claim("web", 1), claim("new", 2), "which is older"),
        (claim("a", 1), claim("b", 1), "which comes first by name"),
        (claim("new", 2), claim("waiting", 1), "which is ready"),
    ],
)
def test_the_reason_is_the_first_difference(winner: Route, loser: Route, why: str) -> None:
    held = [holder_of(winner)] if winner.container == "held" else []
    assert RANKING.why(winner, loser, held) == why


def test_a_sleeping_or_excluded_route_is_not_open() -> None:
    assert is_open(claim("web"))
    assert is_open(claim("files", scheme="fileserver", endpoints=()))
    assert not is_open(claim("asleep", endpoints=()))
    assert not is_open(excluded("off"))


def test_routes_drain_together() -> None:
    leaving = claim("a", endpoints=(Endpoint("10.0.0.1", 80, state="draining"),))
    assert is_draining([leaving])
    assert not is_draining([leaving, claim("b")])
    assert not is_draining([claim("asleep", endpoints=())])
    assert (is_ready(claim("b")), is_ready(leaving)) == (True, False)


def test_who_held_a_name_is_remembered_while_it_exists() -> None:
    a, b, c = ("local", "a"), ("local", "b"), ("local", "c")
    assert successor((a, b), [c], {a, b, c}) == (a, b, c)
    assert successor((a, b), [b], {b, c}) == (b,)
    assert successor((a, b), [a], {a, b}) == (a, b)
    assert successor((), (), {a}) == ()
