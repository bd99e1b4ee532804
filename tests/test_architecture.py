"""The shape of the code, computed from the code: layers, circles, exports, sizes. Imports for types count too."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import grimp
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "pilotage"
PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
# What people import in their own tests, and pilotage itself need not.
FOR_USERS = {"testing": {"FakeAgent", "FakePort", "Fault"}}
# Modules that reach no socket and no event loop, but the system in other ways.
SYSTEM = {
    "pilotage.agents.certificates",
    "pilotage.core.gc",
    "pilotage.core.tempdirs",
    "pilotage.core.textfile",
    "pilotage.daemon.logging",
    "pilotage.daemon.own_container",
    "pilotage.dashboard.rendering",
    "pilotage.discovery.host_addresses",
    "pilotage.discovery.host_routes",
    "pilotage.gateway.binary",
    "pilotage.gateway.capacity",
    "pilotage.gateway.client_limit",
    "pilotage.gateway.envoy_log",
    "pilotage.gateway.file_paths",
    "pilotage.lint.compose",
    "pilotage.lint.policy",
    "pilotage.xds.client_authorities",
}
LONGEST = 400
MOST_CACHED = 1024  # results of one function; labels may ask for ever new ones
IN_ROOT = 10


class Import(NamedTuple):
    """A name that a module imports from another module of pilotage."""

    importer: str
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.importer} imports {self.name} from {self.module}"

    @property
    def crosses(self) -> bool:
        """Whether it goes from one package to another."""
        return package(self.importer) != package(self.module)


def package(module: str) -> str:
    """``pilotage.engine.pool`` -> ``engine``; a module directly in ``pilotage`` is its own package."""
    return module.split(".")[1] if "." in module else ""


@functools.cache
def arrows() -> Mapping[str, frozenset[str]]:
    """Each module, and those that it imports."""
    graph = grimp.build_graph("pilotage", exclude_type_checking_imports=False)
    return {module: frozenset(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def between_packages() -> Mapping[str, frozenset[str]]:
    """Each package, and those that it imports from; ``pilotage/__init__.py`` is left out."""
    found: dict[str, set[str]] = {}
    for module, imported in arrows().items():
        found.setdefault(package(module), set()).update(map(package, imported))
    return {name: frozenset(others - {name, ""}) for name, others in found.items() if name}


def circles(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other, each sorted."""
    left = {node: {other for other in graph[node] if other != node} for node in graph}
    while ends := {node for node, others in left.items() if not others & left.keys()}:
        left = {node: others for node, others in left.items() if node not in ends}
    found = []
    while left:
        node = next(iter(left))
        group = {other for other in reachable(left, node) if node in reachable(left, other)}
        found += [sorted(group)] if group else []
        left = {other: others for other, others in left.items() if other not in group | {node}}
    return found


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    queue = [start]
    while queue:
        new = graph.get(queue.pop(), set()) - found
        found |= new
        queue += new
    return found


@functools.cache
def imports() -> tuple[Import, ...]:
    """Every name that a module of pilotage imports from another, wherever in the file."""
    return tuple(found for path in sorted(SOURCE.rglob("*.py")) for found in imports_of(path))


def imports_of(path: Path) -> Iterator[Import]:
    parts = ("pilotage", *path.relative_to(SOURCE).with_suffix("").parts)
    importer = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "pilotage":
            assert node.module is not None
            for alias in node.names:
                yield Import(importer, node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("pilotage."):
                    module, _, name = alias.name.rpartition(".")
                    yield Import(importer, module, name)


def exported(name: str) -> set[str]:
    """Return ``__all__`` of a package, as it is written there."""
    for node in ast.parse((SOURCE / name / "__init__.py").read_text()).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, (ast.Assign, ast.AnnAssign))
            assert node.value is not None
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize(
    "name", ["", *(str(path.parent.relative_to(SOURCE)) for path in sorted(SOURCE.rglob("*/__init__.py")))]
)
def test_every_export_of_a_package_can_be_imported(name: str) -> None:
    module = importlib.import_module(".".join(("pilotage", *Path(name).parts)))
    assert {export for export in exported(name) if not hasattr(module, export)} == set()


def test_no_two_modules_import_each_other_directly_or_indirectly() -> None:
    assert circles(arrows()) == []


def test_no_two_packages_import_each_other_directly_or_indirectly() -> None:
    assert circles(between_packages()) == []


def test_circles_are_found() -> None:
    graph = {"a": "b", "b": "c", "c": "b", "d": "a", "e": ""}
    assert circles({node: frozenset(others) for node, others in graph.items()}) == [["b", "c"]]


def test_no_import_points_up_and_there_are_no_exceptions() -> None:
    (layers,) = [contract for contract in CONTRACTS if contract["id"] == "layers"]
    rank = {name: place for place, line in enumerate(layers["layers"]) for name in re.split(r"\s*[|:]\s*", line)}
    upward = [
        f"{module} imports {other}"
        for module, imported in arrows().items()
        for other in imported
        if package(module) and package(other) and rank[package(other)] < rank[package(module)]
    ]
    assert upward == []
    assert [contract["id"] for contract in CONTRACTS if contract.get("ignore_imports")] == []


def test_the_contract_of_pure_modules_lists_them_all() -> None:
    (contract,) = [contract for contract in CONTRACTS if contract["id"] == "pure"]
    graph = grimp.build_graph("pilotage", include_external_packages=True, exclude_type_checking_imports=False)
    forbidden = set(contract["forbidden_modules"]) & graph.modules
    impure = {module for name in forbidden for module in graph.find_downstream_modules(name)}
    modules = {path.relative_to(ROOT / "src").with_suffix("") for path in SOURCE.rglob("[!_]*.py")}
    pure = {".".join(module.parts) for module in modules} - impure
    listed = tuple(contract["source_modules"])
    unlisted = {name for name in pure if not f"{name}.".startswith(tuple(f"{it}." for it in listed))}
    assert unlisted == SYSTEM


def test_few_modules_lie_directly_in_the_root() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= IN_ROOT


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_docstring_has_three_sentences(name: str) -> None:
    docstring = ast.get_docstring(ast.parse((SOURCE / name / "__init__.py").read_text())) or ""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z`*\"])", docstring.strip())
    assert len(sentences) >= 3, docstring


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_export_exactly_what_others_import(name: str) -> None:
    used = {it.name for it in imports() if it.crosses and package(it.module) == name}
    own = FOR_USERS.get(name, set())
    assert exported(name) - own == used - own
    assert own <= exported(name)


def test_nothing_private_crosses_a_package() -> None:
    private = re.compile(r"(^|\.)_(?!_)")
    assert [str(it) for it in imports() if it.crosses and private.search(f"{it.module}.{it.name}")] == []


@pytest.mark.parametrize("top", ["src", "tests"])
def test_no_module_is_long(top: str) -> None:
    lines = {path: len(path.read_text().splitlines()) for path in sorted((ROOT / top).rglob("*.py"))}
    assert {str(path.relative_to(ROOT)): count for path, count in lines.items() if count > LONGEST} == {}


def test_every_function_that_caches_its_results_has_a_limit() -> None:
    caches = [
        (path.relative_to(SOURCE), decorator)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        for decorator in getattr(node, "decorator_list", ())
        if "cache" in ast.unparse(decorator) and "cached_property" not in ast.unparse(decorator)
    ]
    assert len(caches) > 5
    for path, decorator in caches:
        limit = re.fullmatch(r"(?:functools\.)?lru_cache\(maxsize=(\d+)\)", ast.unparse(decorator))
        assert limit is not None, f"{path}: @{ast.unparse(decorator)}"
        assert 0 < int(limit[1]) <= MOST_CACHED, f"{path}: @{ast.unparse(decorator)}"
