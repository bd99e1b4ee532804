"""scripts/mutate makes the mutants it should, and finds those that the tests of a module miss."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "mutate.py"


@pytest.fixture(scope="module")
def mutate() -> Any:
    spec = importlib.util.spec_from_file_location("mutate", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = a <= b", {"x = (a < b)"}),
        ("x = a and b", {"x = (a or b)", "x = a", "x = b"}),
        ("x = not a", {"x = a"}),
        ("x = a if b else c", {"x = (c if b else a)", "x = a if (not (b)) else c"}),
        ("x = a + b", {"x = (a - b)"}),
        ("x = a | None", set()),
        ("x = [a for a in b if c]", {"x = [a for a in b if (not (c))]"}),
        ("x = 1, True, 'ä'", {
            "x = 2, True, 'ä'", "x = 1, False, 'ä'", "x = 1, True, 'Xä'",
            "x = (True, 'ä')", "x = (1, 'ä')", "x = (1, True)",
        }),
        ("x = {a: b}", {"x = {}"}),
        ("f(a, b=c)", {"pass", "f(a)"}),
        ("f(min(a))", {"pass", "f(max(a))"}),
        ("a.lower()", {"pass", "a.upper()"}),
        ("a.b = c", {"pass"}),
        ("a += b", {"pass"}),
        ("raise a", {"pass"}),
        ("a, b = c", set()),
        ("def f(a: int = 1) -> int:\n    'Says so.'\n    return a", {
            "def f(a: int = 2) -> int:\n    'Says so.'\n    return a",
            "def f(a: int = 1) -> int:\n    'Says so.'\n    return None",
        }),
        ("def f():\n    return False", {"def f():\n    return True"}),
        ("while a:\n    break", {"while a:\n    continue", "while (not (a)):\n    break"}),
        ("f(zip(a, b, strict=True))", {"pass"}),
        ("f(g.create_task(a(), name='b'))", {"pass"}),
        ("f(warn('a', A, stacklevel=1))", {"pass", "f(warn('Xa', A, stacklevel=1))"}),
        ("f(net(a, strict=False))", {"pass", "f(net(a))", "f(net(a, strict=True))"}),
        ("log.debug('a', exc_info=b)", set()),
        ("log.info('a')", {"pass", "log.info('Xa')"}),
        ("@lru_cache(maxsize=1)\ndef f():\n    pass", set()),
        ("T = TypeVar('T')\nP = tuple[tuple[str, str], ...]\n__slots__ = ('a', 'b')\nx = cast('A', b)", set()),
        ("x = a[b, c]", {"x = a[(c,)]", "x = a[(b,)]"}),
        ("__all__ = ['a']\nif TYPE_CHECKING:\n    import b\nC = Literal['d']", set()),
        ("class A(B, frozen=True):\n    'Text.'\n    c: int = 0", {
            "class A(B, frozen=True):\n    'Text.'\n    c: int = 1",
        }),
    ],
)  # fmt: skip
def test_a_mutant_is_the_module_with_one_small_change(mutate: Any, text: str, expected: set[str]) -> None:
    found = mutate.mutants(text)
    assert {mutant.text for mutant in found} == expected
    assert len(found) == len(expected)


def test_a_mutant_shows_its_line_before_and_after(mutate: Any) -> None:
    (mutant,) = mutate.mutants("# begin\n\nif a < b:  # a reason\n    c\n")[:1]
    assert mutant.line == 3
    assert str(mutant) == "  - if a < b:  # a reason\n  + if (a <= b):  # a reason"


def test_the_modules_own_tests_come_first_then_its_packages_then_those_that_import_it(mutate: Any) -> None:
    own, package, importing, slow = mutate.tests_of(Path("src/pilotage/table/diff.py"), slow=True)
    assert own == (mutate.FAST, ["tests/table/test_diff.py"])
    assert "tests/table/test_store.py" in package[1]
    assert "tests/output/test_changelog.py" in importing[1]
    assert "tests/table/test_diff.py" not in package[1] + importing[1]
    assert slow == (mutate.SLOW, own[1])
    assert "tests/test_conformance.py" in importing[1]
    own, *_ = mutate.tests_of(Path("src/pilotage/table/__init__.py"), slow=False)
    assert own[1] == ["tests/test_architecture.py"]
    own, _ = mutate.tests_of(Path("src/pilotage/xds/session.py"), slow=False)
    assert own[1] == [
        "tests/xds/test_session.py",
        "tests/xds/test_session_refusals.py",
        "tests/xds/test_session_state.py",
    ]


def test_a_seed_chooses_mutants_among_all_modules_of_a_package(mutate: Any) -> None:
    paths = [mutate.ROOT / "src/pilotage/table", mutate.ROOT / "src/pilotage/core/gc.py"]
    chosen, total = mutate.sample(paths, 30, seed=1)
    assert len(chosen) == 30 < total
    assert mutate.sample(paths, 30, seed=1) == (chosen, total)
    assert mutate.sample(paths, 30, seed=2) != (chosen, total)
    assert len({module for module, _ in chosen}) > 5
    every, total = mutate.sample(paths[1:], 0, seed=1)
    assert [mutant for _, mutant in every] == sorted(mutate.mutants(paths[1].read_text()))
    assert len(every) == total


@pytest.mark.parametrize(
    ("line", "lines"),
    [(1, (0, 0)), (3, (0, 0)), (4, (4, 5)), (5, (4, 5)), (6, (6, 6)), (7, (7, 8)), (9, (4, 5)), (10, (10, 10))],
)
def test_the_lines_of_a_statement_are_those_that_run_with_it(mutate: Any, line: int, lines: tuple[int, int]) -> None:
    text = (
        "a = 1\nclass A:\n    def f(self, b=2):\n        if (b and\n                a):\n            b()\n"
        "            c(\n                1)\n        else:\n            d()\n"
    )
    assert mutate.statement_of(text, line) == lines


def test_of_other_files_only_tests_that_run_the_changed_statement_run_again(mutate: Any, tmp_path: Path) -> None:
    module = Path("src/pilotage/core/gc.py")
    own, other = "tests/core/test_gc.py::test_a", "tests/core/test_text.py::test_b[c::d]"
    text = "A = 1\ndef f():\n    return 1\ndef g():\n    return 2\n"
    (tmp_path / module).parent.mkdir(parents=True)
    (tmp_path / module).write_text(text)
    baseline = mutate.Baseline(tmp_path, {module: list(mutate.tests_of(module, slow=False))})
    baseline.seconds = {own: 1.0, other: 2.0, "tests/core/test_yaml.py::test_e": 4.0}
    baseline.lines[str(module)].update({1: {""}, 2: {""}, 3: {own, other}, 4: {""}, 5: set()})

    def groups(line: int) -> list[tuple[list[str], float]]:
        return [(group.names, group.limit) for group in baseline.groups(module, line)]

    assert groups(3) == [(["tests/core/test_gc.py"], 30), ([other], 40)]
    assert groups(5) == [(["tests/core/test_gc.py"], 30)]
    assert groups(1)[0] == (["tests/core/test_gc.py"], 30)
    assert {"tests/core/test_text.py", "tests/core/test_yaml.py"} <= set(groups(1)[1][0])
    assert groups(1)[1][1] == 80


@pytest.mark.process
@pytest.mark.slow
def test_survivors_are_printed_and_fail_the_run(tmp_path: Path) -> None:
    for folder in ("scripts", "src/pilotage/core", "tests/core"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("src/pilotage", "src/pilotage/core"):
        (tmp_path / folder / "__init__.py").touch()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\nmarkers = ['engine', 'slow', 'process']\n")
    (tmp_path / "tests" / "conftest.py").write_text(
        "from hypothesis import settings\nsettings.register_profile('fast')\n"
    )
    (tmp_path / "src" / "pilotage" / "core" / "sizes.py").write_text("def big(size):\n    return size > 10\n")
    tests = tmp_path / "tests" / "core" / "test_sizes.py"
    tests.write_text(
        "from pilotage.core.sizes import big\n\ndef test_it():\n    assert big(11)\n    assert not big(9)\n"
    )

    def run(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, tmp_path / "scripts" / "mutate.py", "src/pilotage/core/sizes.py", "--count=0", *options],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return done.returncode, done.stdout + done.stderr

    status, output = run()
    assert status == 1
    assert "src/pilotage/core/sizes.py:2: survived\n  -     return size > 10\n  +     return (size >= 10)\n" in output
    assert "3 mutants, of 3 possible: 2 killed, 1 survived, 0 timed out. 67 % killed." in output
    assert "killed tests" not in output
    assert "sizes.py:2: killed tests/core/test_sizes.py::test_it\n  -     return size > 10\n" in run("--verbose")[1]
    assert run("--at-least=0")[0] == 0
    tests.write_text("def test_it():\n    assert False\n")
    status, output = run()
    assert status == 1
    assert "These tests fail without a mutant" in output
