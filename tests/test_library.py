"""What ``import pilotage`` offers suffices for a program that imports nothing else, checked by ``mypy --strict``."""

from __future__ import annotations

import ast
import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pilotage
from pilotage import (
    Change,
    ClientRequest,
    Clients,
    Container,
    DockerProviderConfig,
    EndpointState,
    EngineClient,
    EngineSnapshot,
    EngineStatus,
    EventStream,
    Explanation,
    HealthCheck,
    Pool,
    PortPair,
    Route,
    RouteExplanation,
    ScanResult,
    Severity,
    Subscription,
    Summary,
    Table,
    Timeouts,
    build_table,
    clients,
    discover,
    explain,
    new_client,
    scan_all,
    to_json,
)
from pilotage.testing import FakeEngine, container

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOURCE = Path(__file__).parent.parent / "src" / "pilotage"

# Classes whose constructors are not for users; pilotage returns them.
MADE_BY_US = {"ClientRequest", "DiscoveryManager", "EngineClient", "EngineWatcher", "EventStream", "SharedClient",
              "Subscription"}  # fmt: skip
# Named in signatures, but not offered.
INTERNAL = {
    # parts of the engine's answers below the types that are offered; one is called like our Endpoint
    *("Component", "Health", "HostConfig", "NetworkSettings"),
    *("InspectConfig", "InspectNetworkSettings", "InspectState", "ServiceEndpoint", "ServiceSpec", "TaskStatus"),
    *("Address", "Connection"),  # Pool(connect=...), for tests of the pool
    *("OwnLabels", "Located"),  # Container.own_labels and RouteFile.fields, which only later steps read
    "Idlewatcher",  # RouteFile.idlewatchers, which only discovery reads
    "Reach",  # Endpoint.reach, which only the gateway reads
    "EndpointJson",  # RouteExplanation.endpoints, as in the JSON of a route
    "SelfSigned",  # Table.self_signed, which only commands and the API read
    *(
        "AgentInfo",
        "AgentHealth",
        "FoundAgent",
        "KnownAgent",
    ),  # what an agent says, which only commands and daemon read
}


@functools.cache
def our_types() -> frozenset[str]:
    """Return the names of all classes and type aliases of pilotage."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found.add(node.targets[0].id)
    return frozenset(found)


def names_in(annotation: object) -> Iterator[str]:
    """Yield the names in an annotation, without the metadata of ``Annotated``."""
    todo: list[ast.AST] = [ast.parse(str(annotation), mode="eval")]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            yield node.id
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Annotated":
            assert isinstance(node.slice, ast.Tuple)
            todo.append(node.slice.elts[0])
        else:
            todo += ast.iter_child_nodes(node)


def annotations_of(name: str) -> Iterator[object]:
    """Yield the annotations of the signatures and fields of a public name."""
    public = getattr(pilotage, name)
    if not inspect.isclass(public):
        yield from inspect.get_annotations(public).values() if inspect.isfunction(public) else ()
        return
    yield from (base.__name__ for base in public.__bases__ if base.__module__.startswith("pilotage."))
    yield from (text for field, text in inspect.get_annotations(public).items() if not field.startswith("_"))
    for attribute, value in vars(public).items():
        method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        constructor = attribute == "__init__" and name not in MADE_BY_US
        if inspect.isfunction(method) and (constructor or not attribute.startswith("_")):
            yield from inspect.get_annotations(method).values()


@pytest.mark.parametrize("name", sorted(set(pilotage.__all__) - {"__version__"}))
def test_the_types_that_a_public_name_mentions_are_public(name: str) -> None:
    mentioned = {found for annotation in annotations_of(name) for found in names_in(annotation)} & our_types()
    assert mentioned - set(pilotage.__all__) - INTERNAL == set()


def test_what_is_internal_is_mentioned() -> None:
    mentioned = {
        found for name in pilotage.__all__ for annotation in annotations_of(name) for found in names_in(annotation)
    }
    assert mentioned >= INTERNAL


def test_the_renamed_names_still_work() -> None:
    with pytest.warns(DeprecationWarning, match="pilotage.survey_all is now called pilotage.scan_all"):
        assert pilotage.survey_all is scan_all
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        pilotage.nonsense  # noqa: B018


# ---- a program of a user, checked with the tests ------------------------------------------------------------------


def ready(route: Route, wanted: EndpointState = "ready") -> bool:
    port: PortPair = route.port
    check: HealthCheck = route.settings.healthcheck
    return port.proxy > 0 and not check.disable and all(endpoint.state == wanted for endpoint in route.endpoints)


def errors(table: Table, severity: Severity = "error") -> list[str]:
    return [str(problem) for problem in table.problems if problem.severity == severity]


def served(explanation: Explanation) -> list[RouteExplanation]:
    return [route for found in explanation.containers for route in found.routes if route.served]


def names(snapshots: Iterable[EngineSnapshot]) -> list[str]:
    found: list[Container] = [container for snapshot in snapshots for container in snapshot.containers]
    return [container.container_name for container in found]


async def look(client: EngineClient) -> int:
    summaries: list[Summary] = []
    stream: EventStream = client.events()
    async with stream:
        summaries += [pilotage.Summary(Id="1") for _ in await client.list_containers()]
    return len(summaries)


async def first(subscription: Subscription) -> list[Change]:
    async for update in subscription:
        return list(update.changes)
    return []


async def test_a_program_that_imports_only_pilotage_gets_what_it_needs() -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine, Pool(Timeouts(request=5)) as pool:
        local = DockerProviderConfig(engine.url, name="local")
        found: ScanResult = await scan_all([local], pool=pool)
        table = build_table(found.snapshots)
        status: EngineStatus = table.engines["local"]
        assert (status.state, errors(table), names(found.snapshots)) == ("live", [], ["web"])
        assert ready(table.routes["web"])
        assert [route.alias for route in served(explain("web", found.snapshots, table))] == ["web"]
        assert to_json(table)["routes"]["web"] == to_json(table.routes["web"])
        request: ClientRequest = new_client(local, pool=pool)
        async with request as client:
            held: Clients = clients(pool)
            assert len(held) == await look(client) == 1
            for each in held:
                await each.close()
        async with discover([local], pool=pool) as discovery:
            await discovery.ready()
            assert [change.kind for change in await first(discovery.subscribe())] == ["live", "added"]
            assert served(explain("web", discovery.snapshots(), discovery.table, discovery.files()))
