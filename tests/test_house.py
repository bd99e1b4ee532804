"""The project's rules for its files: where they are, which versions they pin, and nothing private in them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path.relative_to(ROOT / "src" / "pilotage")
    for path in (ROOT / "src" / "pilotage").rglob("*.py")
    if path.name not in {"__init__.py", "__main__.py"}
)
# Tests of the whole project, which belong to no source file.
WHOLE = {
    "live/test_chance.py",
    "live/test_changes.py",
    "live/test_labels_served.py",
    "live/test_neighbours.py",
    "live/test_podman.py",
    "live/test_restarts.py",
    "live/test_scale.py",
    "test_architecture.py",
    "test_conformance.py",
    "test_contributing.py",
    "test_costs.py",
    "test_names_served.py",
    "test_nothing_silent.py",
    "test_users_files.py",
    "test_documentation_examples.py",
    "test_documents.py",
    "test_engine_texts.py",
    "test_failures.py",
    "live/test_agents.py",
    "test_fuzz.py",
    "test_house.py",
    "test_library.py",
    "test_least_privilege.py",
    "test_main.py",
    "test_mutate.py",
    "test_no_request_lost.py",
    "test_sleep_and_wake.py",
    "test_sleep_crashes.py",
    "test_sleep_labels.py",
    "test_sleep_two_envoys.py",
    "test_packaging.py",
    "test_properties.py",
    "test_readme.py",
    "test_ports_served.py",
    "test_recorded_labels.py",
    "test_security_page.py",
    "test_supply_chain.py",
}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def where_tested(source: Path) -> Path:
    """``engine/pool.py`` -> ``engine/test_pool.py``, without a private module's leading underscore."""
    return source.with_name(f"test_{source.stem.lstrip('_')}.py")


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_every_source_file_has_its_test_file(source: Path) -> None:
    assert (ROOT / "tests" / where_tested(source)).is_file(), f"write tests/{where_tested(source)}"


def test_every_test_file_belongs_to_a_source_file() -> None:
    """``test_pool.py`` tests ``pool.py``; ``test_pool_closing.py`` has more of its tests, because files are short."""
    expected = {where_tested(source).with_suffix("") for source in SOURCES}
    found = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    found = {path for path in found if path.parts[0] not in {"support", "security"} and str(path) not in WHOLE}
    assert [str(path) for path in sorted(found) if not any(f"{path}"[:-3].startswith(f"{it}") for it in expected)] == []


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every file that is published, with its text."""
    tops = [
        ROOT / name for name in ("src", "tests", "docs", "scripts", "requirements", "packaging", "benchmarks", ".ci")
    ]
    files = [path for top in tops for path in top.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files += [path for path in ROOT.iterdir() if path.suffix in {".md", ".toml"} or path.name == ".gitignore"]
    for path in files:
        try:
            yield path.relative_to(ROOT), path.read_text()
        except UnicodeDecodeError:  # compressed recordings, certificates
            continue


def test_no_file_mentions_a_folder_of_a_developers_machine() -> None:
    # Concatenated, so this file does not match.
    private = re.compile("|".join(["/" + "work/", "/" + "tmp/brief", "/" + "root/", "/" + r"home/(?!me\b|user\b)\w"]))
    found = [f"{path}: {match.group()}" for path, text in texts() for match in private.finditer(text)]
    assert found == []


PINNED = re.compile(r"([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)")


def pins(name: str) -> dict[str, str]:
    """Return the pinned versions of a requirements file and those it includes, by normalized name."""
    found: dict[str, str] = {}
    text = re.sub(r" \\\n    --hash=sha256:[0-9a-f]{64}(?=\s)", "", (ROOT / "requirements" / name).read_text())
    for line in text.splitlines():
        if line.startswith("-r "):
            found |= pins(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            match = PINNED.fullmatch(line)
            assert match, f"requirements/{name}: {line!r} is not NAME==VERSION"
            found[normal(match[1])] = match[2]
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_requirement_is_pinned_by_version_and_not_by_url() -> None:
    assert len(pins("dev.txt")) > len(pins("test.txt")) > len(pins("run.txt")) > 10


def test_the_pinned_versions_satisfy_the_declared_dependencies() -> None:
    fixed = pins("run.txt")
    for text in PYPROJECT["project"]["dependencies"]:
        requirement = Requirement(text)
        version = fixed.get(normal(requirement.name))
        assert version is not None, f"pin {requirement.name} in requirements/run.txt"
        assert requirement.specifier.contains(version), f"{requirement.name}=={version} does not fit {text}"


def test_the_wheel_holds_the_type_marker_and_nothing_but_the_program(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "pilotage/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "_pilotage_start.py",
        "pilotage",
        f"pilotage-{PYPROJECT['project']['version']}.dist-info",
    }


def test_the_gates_cover_every_supported_python() -> None:
    supported = {text.rsplit(" ", 1)[1] for text in PYPROJECT["project"]["classifiers"] if "Python :: 3." in text}
    loop = re.search(r"for version in (.*); do", (ROOT / "scripts" / "test").read_text())
    assert loop is not None
    assert set(loop[1].split()) == supported
