from __future__ import annotations

from pilotage.xds.references import ClusterReferences
from pilotage.xds.resources import CLUSTER, LISTENER, SCOPE
from tests.support.steps import same_cost, steps_of


def test_references_are_counted_per_cluster() -> None:
    references = ClusterReferences()
    assert references.set((SCOPE, "app"), frozenset({"a", "b"})) == []
    assert references.set((LISTENER, "tcp/0.0.0.0:22"), frozenset({"b"})) == []
    assert sorted(references.users("b")) == [(LISTENER, "tcp/0.0.0.0:22"), (SCOPE, "app")]
    assert references.set((SCOPE, "app"), frozenset({"c"})) == ["a"]
    assert references.get((SCOPE, "app")) == {"c"}
    assert [references.is_unreferenced(name, complete=True) for name in "abc"] == [True, False, False]
    assert references.set((LISTENER, "tcp/0.0.0.0:22"), frozenset()) == ["b"]


def test_only_scopes_and_listeners_reference_clusters() -> None:
    references = ClusterReferences()
    assert references.set((CLUSTER, "a"), frozenset({"a"})) == []
    assert references.is_unreferenced("a", complete=False)


def test_a_cluster_from_before_the_session_may_be_referenced_by_what_is_unknown() -> None:
    references = ClusterReferences()
    references.add_initial("old")
    references.unknown.add((SCOPE, "app"))
    assert not references.is_unreferenced("old", complete=True)
    references.unknown.clear()
    assert not references.is_unreferenced("old", complete=False)
    assert references.is_unreferenced("old", complete=True)


def test_the_users_of_a_cluster_are_found_without_a_search() -> None:
    def cost(size: int) -> int:
        references = ClusterReferences()
        for number in range(size):
            references.set((SCOPE, f"app{number}"), frozenset({"shared", f"route/app{number}"}))
        return steps_of(lambda: list(references.users("route/app7")))

    assert same_cost(cost(10_000), cost(100))


def test_a_cluster_is_referenced_as_long_as_one_resource_does() -> None:
    references = ClusterReferences()
    for name in ("one", "two", "three"):
        assert references.set((SCOPE, name), frozenset({"a"})) == []
    assert references.set((SCOPE, "one"), frozenset({"a"})) == []
    assert references.set((SCOPE, "one"), frozenset()) == references.set((SCOPE, "two"), frozenset()) == []
    assert not references.is_unreferenced("a", complete=True)
    assert (references.get((SCOPE, "one")), references.users("a")) == (frozenset(), {(SCOPE, "three")})
    assert references.set((SCOPE, "three"), frozenset()) == ["a"]
    assert references.set((SCOPE, "three"), frozenset()) == []
    assert references.is_unreferenced("a", complete=False)


def test_a_cluster_from_before_the_session_that_is_referenced_now_is_kept() -> None:
    references = ClusterReferences()
    references.add_initial("old")
    references.set((LISTENER, "tcp/0.0.0.0:22"), frozenset({"old"}))
    assert not references.is_unreferenced("old", complete=True)
