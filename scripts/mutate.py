"""Mutation testing of modules; scripts/mutate runs it.

A mutant is a module with one small change. It is killed if a test fails; one that survives shows what no test checks.
Of the libraries, mutmut leaves out all that stands outside functions, such as tables and limits; cosmic-ray removes
neither statements nor arguments nor elements, and spends a quarter of its mutants on type annotations.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import coverage
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [
    *"-x -q -n 0 -p no:cacheprovider --timeout 60 --hypothesis-profile fast -W".split(),
    "ignore:Module already imported",
]
RULES = (  # of how labels become routes
    "tests/routes/test_build.py",
    "tests/routes/test_build_limits.py",
    "tests/test_conformance.py",
    "tests/test_recorded_labels.py",
)
RULED = ("labels", "containers", "routes", "table")
FAST, SLOW = "not engine and not slow and not process", "not engine and (slow or process)"

OPPOSITES: dict[type[ast.AST], Any] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
SIMILAR = {"min": "max", "any": "all", "startswith": "endswith", "lower": "upper", "partition": "rpartition"}
# Arguments that no test can see: types, names for debugging, checks that hold anyway. The limits of caches are tested
# in tests/test_architecture.py.
SILENT_CALLS = {"TypeVar", "cast", "debug", "lru_cache"}
SILENT_ARGUMENTS = {"create_task name", "defstruct frozen", "defstruct kw_only", "warn stacklevel", "zip strict"}
TYPES = {"Awaitable", "Callable", "Iterable", "Literal", "Mapping", "dict", "frozenset", "list", "set", "tuple", "type"}
ATOMS = (ast.Attribute, ast.Call, ast.Constant, ast.Dict, ast.List, ast.Name, ast.Set, ast.Tuple)
SIMILAR |= {new: old for old, new in SIMILAR.items()}


class Mutant(NamedTuple):
    """One change of a module: its line, the module's new text, and the changed lines before and after."""

    line: int
    text: str
    before: str
    after: str

    def __str__(self) -> str:
        removed = [f"  - {line}" for line in self.before.splitlines()]
        return "\n".join(removed + [f"  + {line}" for line in self.after.splitlines()])


class Change(NamedTuple):
    """What to write in place of a part of a module; its place is that of a node of the syntax tree."""

    first: int
    start: int
    last: int
    end: int
    replacement: str


def possible(text: str) -> list[Change]:
    """Return all changes of a module. A few of them make no mutant."""
    found = changes(ast.parse(text))
    return sorted({Change(it.lineno, it.col_offset, it.end_lineno, it.end_col_offset, new) for it, new in found})


def mutant_of(text: str, change: Change) -> Mutant | None:
    """Return the mutant that a change makes, or None if it does not compile or does not differ from the module."""
    lines = text.encode().splitlines(keepends=True)
    first, last = change.first - 1, change.last
    after = lines[first][: change.start] + change.replacement.encode() + lines[last - 1][change.end :]
    changed = b"".join([*lines[:first], after, *lines[last:]]).decode()
    with contextlib.suppress(SyntaxError):  # e.g. a keyword that a pattern needs
        if ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)):
            return Mutant(change.first, changed, b"".join(lines[first:last]).decode(), after.decode())
    return None


def mutants(text: str) -> list[Mutant]:
    """Return all mutants of a module by line; each of them compiles and differs from the module."""
    return [mutant for change in possible(text) if (mutant := mutant_of(text, change)) is not None]


def changes(parent: ast.AST) -> Iterator[tuple[Any, str]]:
    """Yield each node below this one that can be changed, with what to write in its place."""
    for node in ast.iter_child_nodes(parent):
        if says_nothing(parent, node):
            continue
        if node is getattr(parent, "test", None) or node in getattr(parent, "ifs", ()):
            yield node, f"(not ({ast.unparse(node)}))"
        for changed in changed_expressions(node):
            yield node, ast.unparse(changed) if isinstance(changed, ATOMS) else f"({ast.unparse(changed)})"
        yield from ((node, replacement) for replacement in changed_statements(node))
        yield from changes(node)


def says_nothing(parent: ast.AST, node: ast.AST) -> bool:
    """Return whether a node has no effect at run time, so that its mutants would say nothing about the tests."""
    if node is getattr(parent, "annotation", None) or node is getattr(parent, "returns", None):
        return not ast.unparse(node).startswith("Annotated[")
    match parent:
        case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.Assign(targets=[ast.Name("__all__" | "__slots__")]):
            return True
        case ast.Subscript(value=ast.Name(name)):
            return name in TYPES
        case ast.Call():
            return is_silent(parent, node)
        case ast.ClassDef():  # its bases, and the options of a struct
            return isinstance(node, (ast.expr, ast.keyword))
    # A docstring; before Python 3.12, the parts of an f-string have no place of their own.
    return isinstance(parent, ast.JoinedStr) or (isinstance(parent, ast.Expr) and isinstance(node, ast.Constant))


def is_silent(call: ast.Call, argument: ast.AST) -> bool:
    """Return whether no test can see an argument of a call."""
    name = getattr(call.func, "id", getattr(call.func, "attr", ""))
    is_listed = name in SILENT_CALLS or f"{name} {getattr(argument, 'arg', '')}" in SILENT_ARGUMENTS
    return is_listed and argument is not call.func


def changed_expressions(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the mutants of an expression: of its operator, its arguments or its elements."""
    match node:
        case ast.Compare(ops=[op]):
            yield ast.Compare(node.left, [OPPOSITES[type(op)]()], node.comparators)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(OPPOSITES[type(op)](), values)
            yield from (ast.BoolOp(op, rest) if len(rest) > 1 else rest[0] for rest in one_less(values))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPPOSITES and ast.unparse(right) != "None":
            yield ast.BinOp(left, OPPOSITES[type(op)](), right)
        case ast.Call():
            yield from one_keyword_less(node)
        case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
            if len(items) > 1 and not isinstance(getattr(node, "ctx", None), ast.Store):
                yield from (type(node)(rest) for rest in one_less(items))
        case ast.Dict(keys=keys, values=values):
            for rest in one_less(list(zip(keys, values, strict=True))):
                yield ast.Dict([key for key, _ in rest], [value for _, value in rest])
        case _:
            yield from changed_atoms(node)


def one_keyword_less(call: ast.Call) -> Iterator[ast.expr]:
    """Yield the call without each of its keywords that a test could see."""
    for keyword, rest in zip(call.keywords, one_less(call.keywords), strict=True):
        if not is_silent(call, keyword):
            yield ast.Call(call.func, call.args, rest)


def changed_atoms(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the mutants of a constant or a name."""
    match node:
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() | str() as value):
            yield ast.Constant(f"X{value}" if isinstance(value, str) else value + 1)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in SIMILAR:
            yield ast.Name(SIMILAR[name]) if isinstance(node, ast.Name) else ast.Attribute(node.value, SIMILAR[name])


def one_less(items: list[Any]) -> Iterator[list[Any]]:
    """Yield the list without its first item, without its second, ..."""
    return (items[:place] + items[place + 1 :] for place in range(len(items)))


def changed_statements(node: ast.AST) -> Iterator[str]:
    """Yield what can be written in place of a statement."""
    match node:
        case (
            ast.Expr(value=ast.Constant() | ast.Call(func=ast.Attribute(attr="debug")))
            | ast.Return(value=None | ast.Constant(value=None | False | ""))
        ):
            return
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Expr() | ast.AugAssign() | ast.Raise():
            yield "pass"
        case ast.Return():
            yield "return None"
        case ast.Break() | ast.Continue():
            yield "continue" if isinstance(node, ast.Break) else "break"


def tests_of(module: Path, *, slow: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield the marks and the files of the tests to run on a mutant, a group at a time.

    These are the fast tests of the module's own files, of its package, of files that import it, and for what turns
    labels into routes those of the rules; then its slow ones.
    """
    inside = module.relative_to("src/pilotage").with_suffix("")
    folder, name = ROOT / "tests" / inside.parent, f"from pilotage.{'.'.join(inside.parts)} import"
    own = set(folder.glob(f"test_{inside.name.lstrip('_')}*.py"))
    package = set(folder.glob("test_*.py")) - own if inside.parent.name else set()
    if inside.name == "__init__":
        own = {ROOT / "tests/test_architecture.py"}
    others = set(ROOT.glob("tests/**/test_*.py")) - own - package - set(ROOT.glob("tests/live/*"))
    importing = {path for path in others if name in path.read_text()}
    rules = {ROOT / name for name in RULES} if inside.parts[0] in RULED else set()
    for files, which in ((own, FAST), (package, FAST), (importing | rules, FAST), (own if slow else set(), SLOW)):
        if files:
            yield which, sorted(str(path.relative_to(ROOT)) for path in files)


class Recorder:
    """A plugin for pytest that records what each test takes and runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.coverage = coverage.Coverage("lines", config_file=False, source_pkgs=["pilotage"], messages=False)
        self.coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note the lines of the package that run from now on as lines of this test."""
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the time of a test, or of what comes before or after it."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def pytest_sessionfinish(self) -> None:
        """Write the times, the lines, and the names of the modules that do not depend on a mutant."""
        self.coverage.stop()
        self.coverage.save()
        Path("seconds").write_text(json.dumps(self.seconds))
        Path("modules").write_text(
            "\n".join(name for name in sys.modules if not name.startswith(("pilotage", "tests")))
        )


class Group(NamedTuple):
    """Tests to run together: marks, names of files or tests, and the seconds after which they hang."""

    which: str
    names: list[str]
    limit: float


class Baseline:
    """What the tests take and run without a mutant.

    Args:
        copy: a copy of the checkout, in which they run.
        tests: module -> :func:`tests_of`. The checkout may change while the mutants run.

    """

    def __init__(self, copy: Path, tests: dict[Path, list[tuple[str, list[str]]]]) -> None:
        self.copy = copy
        self.tests = tests
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))

    def add(self) -> None:
        """Add what the last run has recorded."""
        self.seconds |= json.loads((self.copy / "seconds").read_text())
        data = coverage.CoverageData(str(self.copy / "lines"))
        data.read()
        for path in data.measured_files():
            for line, tests in data.contexts_by_lineno(path).items():
                self.lines[str(Path(path).relative_to(self.copy))][line].update(tests)

    def groups(self, module: Path, line: int) -> list[Group]:
        """Return the tests to run on a mutant: :func:`tests_of`, except those that do not run the changed statement.

        The module's own tests are always complete, because a result may have been cached by an earlier test.
        """
        first, last = statement_of((self.copy / module).read_text(), line)
        running = set().union(*(self.lines[str(module)][number] for number in range(first, last + 1)))
        found = []
        for index, (which, files) in enumerate(self.tests[module]):
            if index and first and "" not in running:  # "": while modules are imported
                names = sorted(test for test in running if test.partition("::")[0] in files)
            else:
                names = files
            listed = set(names)
            taken = sum(
                it for test, it in self.seconds.items() if not listed.isdisjoint((test, test.partition("::")[0]))
            )
            if names:
                found.append(Group(which, names, 20 + 10 * taken))
        return found


def statement_of(text: str, line: int) -> tuple[int, int]:
    """Return the first and last line of the innermost statement in a function, a block's without its body.

    It is (0, 0) outside functions: what runs there runs once, in whatever test imports the module first.
    """
    found = (0, 0)
    for function in ast.walk(ast.parse(text)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in itertools.chain.from_iterable(map(ast.walk, function.body)):
            if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
                body = getattr(node, "body", None)
                last = body[0].lineno - 1 if body else node.end_lineno
                found = max(found, (node.lineno, max(last or 0, node.lineno)))
    return found


def run_tests(copy: Path, group: Group, *, record: bool) -> None:
    """Run tests in a copy of the checkout, and exit with pytest's status. For a child process."""
    os.setsid()
    os.chdir(copy)
    output = os.open("output", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(os.dup2(output, 1), 2)
    resource.setrlimit(resource.RLIMIT_DATA, (4 << 30, 4 << 30))  # bytes; a mutant may allocate without end
    resource.setrlimit(resource.RLIMIT_CPU, (600, 600))  # seconds; it may loop without end, even if this is killed
    os.environ["PYTHONPATH"] = str(copy / "src")
    sys.path[:1] = [str(copy / "src"), str(copy)]
    status = pytest.main([*PYTEST, "-m", group.which, *group.names], plugins=[Recorder()] if record else [])
    os._exit(0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status)


def outcome(copy: Path, group: Group, *, record: bool = False) -> str:
    """Return what some tests do to the code in the copy: ``killed``, ``timed out`` or ``survived``."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=run_tests, args=(copy, group), kwargs={"record": record})
    child.start()
    child.join(group.limit or None)
    status = child.exitcode
    with contextlib.suppress(ProcessLookupError):  # also what the tests have started
        os.killpg(child.pid or 0, signal.SIGKILL)
    child.join()
    return "timed out" if status is None else "killed" if status else "survived"


def prepare(copy: Path, modules: set[Path], *, slow: bool) -> Baseline:
    """Run the tests without a mutant, and import what they import, so that later runs begin at once."""
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", ".*cache", ".hypothesis", "site", "dist")
    )
    baseline = Baseline(copy, {module: list(tests_of(module, slow=slow)) for module in modules})
    for which in FAST, SLOW:
        files = {
            name for tests in baseline.tests.values() for marks, names in tests if marks == which for name in names
        }
        if not files:
            continue
        if outcome(copy, Group(which, sorted(files), 0), record=True) != "survived":
            sys.exit((copy / "output").read_text() + "These tests fail without a mutant: fix them first.")
        baseline.add()
        for name in (copy / "modules").read_text().split():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    for module in modules:
        for compiled in (copy / module.parent / "__pycache__").glob(f"{module.stem}.*"):
            compiled.unlink()
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # a mutant may have the size and time of the one before it
    sys.dont_write_bytecode = True
    return baseline


def try_mutant(copy: Path, module: Path, mutant: Mutant, groups: Iterable[Group]) -> tuple[str, str]:
    """Return what the tests do to a mutant, and the test that killed it, if one did."""
    original = (copy / module).read_text()
    (copy / module).write_text(mutant.text)
    found = (outcome(copy, group) for group in groups)
    result = next((it for it in found if it != "survived"), "survived")
    (copy / module).write_text(original)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", (copy / "output").read_text(errors="replace"), re.MULTILINE)
    return result, failed[1] if failed and result == "killed" else ""


def sample(paths: list[Path], count: int, seed: int) -> tuple[list[tuple[Path, Mutant]], int]:
    """Return some mutants of the modules at and below these paths, and how many changes are possible there."""
    files = {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])}
    texts = {file.relative_to(ROOT): file.read_text() for file in sorted(files)}
    made = [(module, change) for module, text in texts.items() for change in possible(text)]
    random.Random(seed).shuffle(made)  # noqa: S311
    real = ((module, mutant) for module, change in made if (mutant := mutant_of(texts[module], change)) is not None)
    return sorted(itertools.islice(real, count or None)), len(made)


def main() -> int:
    """Run it on the modules that the command line names."""
    parser = argparse.ArgumentParser("scripts/mutate", description="Measure how well the tests check some modules.")
    parser.add_argument("path", type=Path, nargs="+", help="a file or a folder below src/pilotage")
    parser.add_argument("--count", type=int, default=20, help="how many mutants to try in all (default: 20; 0: all)")
    parser.add_argument("--seed", type=int, default=1, help="chooses them (default: 1)")
    parser.add_argument("--slow", action="store_true", help="run the modules' own slow tests, too")
    parser.add_argument("--verbose", action="store_true", help="print killed mutants, too, with the test that fails")
    parser.add_argument("--at-least", type=float, default=95, help="fail if fewer percent are killed (default: 95)")
    options = parser.parse_args()
    chosen, total = sample([path.resolve() for path in options.path], options.count, options.seed)
    results = Counter(killed=0, survived=0)
    results["timed out"] = 0
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        baseline = prepare(copy := Path(folder, "checkout"), {module for module, _ in chosen}, slow=options.slow)
        for module, mutant in chosen:
            result, test = try_mutant(copy, module, mutant, baseline.groups(module, mutant.line))
            results[result] += 1
            if result == "survived" or options.verbose:
                print(f"{module}:{mutant.line}: {result} {test}".rstrip(), mutant, sep="\n", flush=True)
    killed = 100 * (1 - results["survived"] / max(1, len(chosen)))
    summary = ", ".join(f"{count} {name}" for name, count in results.items())
    print(f"{len(chosen)} mutants, of {total} possible: {summary}. {killed:.0f} % killed.")
    return int(killed < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
