"""Route files on a real file system: finding, reading and watching them, and files that are invalid or deleted."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.discovery import files as module
from pilotage.discovery.files import FileWatcher, read_files
from pilotage.discovery.manager import discover
from pilotage.engine.config import DockerProviderConfig
from pilotage.routes.file import read_route_file
from pilotage.testing import FakeEngine, container
from tests.support.leaks import assert_no_leaks
from tests.support.rights import as_nobody, public_folder
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.routes.file import RouteFile

NAS = "nas: {host: 10.0.0.2, port: 5000}\n"
WIKI = "wiki: {host: 10.0.0.3}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(discovery: DiscoveryManager) -> dict[str, str | None]:
    return {route.alias: route.target for route in discovery.table.sorted_routes()}


def said(discovery: DiscoveryManager) -> list[str]:
    return [str(problem) for problem in discovery.table.problems]


# ---- reading once


def test_files_are_found_by_name_and_pattern_in_order(folder: Path) -> None:
    (folder / "routes.d").mkdir()
    (folder / "routes.d" / "b.yml").write_text(WIKI)
    (folder / "routes.d" / "a.yml").write_text("")
    (folder / "routes.d" / "c.yml").mkdir()
    (folder / "own.yml").write_text(NAS)
    found = read_files(["own.yml", "routes.d/*.yml", "routes.d/b.yml", "none.d/*.yml"])
    assert [file.name for file in found] == ["own.yml", "routes.d/a.yml", "routes.d/b.yml"]
    assert [route.alias for file in found for route in file.routes] == ["nas", "wiki"]


def test_a_missing_named_file_is_a_problem(folder: Path) -> None:
    (file,) = read_files(["none.yml"])
    assert str(file.problems[0]).startswith("none.yml: no such file; check the name")


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"\xff\xfe", "is not UTF-8 text"), (b"#" * 5_000_000, "is larger than 4 MiB"), (b"a: [", "not valid YAML")],
)
def test_an_unreadable_file_is_reported(folder: Path, body: bytes, said: str) -> None:
    (folder / "own.yml").write_bytes(body)
    (file,) = read_files(["own.yml"])
    assert not file.is_whole
    assert said in str(file.problems[0])


def test_a_directory_instead_of_a_file_is_reported(folder: Path) -> None:
    (folder / "own.yml").mkdir()
    (file,) = read_files(["own.yml"])
    assert "cannot be read: Is a directory" in str(file.problems[0])


# ---- reading again


def test_only_changes_are_reported(folder: Path) -> None:
    told: list[tuple[str, RouteFile | None]] = []
    watcher = FileWatcher(["*.yml"], lambda name, file: told.append((name, file)))
    (folder / "a.yml").write_text(NAS)
    (folder / "b.yml").write_text(WIKI)
    watcher.read()
    watcher.read()
    (folder / "b.yml").write_text(f"{WIKI}# a comment\n")
    watcher.read()
    assert [name for name, _ in told] == ["a.yml", "b.yml"]
    (folder / "a.yml").unlink()
    watcher.read()
    assert told[2:] == [("a.yml", None)]
    assert list(watcher.files) == ["b.yml"]


def test_an_invalid_file_keeps_its_routes_until_it_is_fixed(folder: Path) -> None:
    watcher = FileWatcher(["own.yml"])
    for text in (NAS, "nas: {host: [", "nas: {host: [["):
        (folder / "own.yml").write_text(text)
        watcher.read()
    file = watcher.files["own.yml"]
    assert [route.target for route in file.routes] == ["http://10.0.0.2:5000"]
    assert file.problems[0].hint == "its previous routes are kept"
    (folder / "own.yml").write_text(WIKI)
    watcher.read()
    assert [route.alias for route in watcher.files["own.yml"].routes] == ["wiki"]


def test_a_deleted_file_loses_its_routes(folder: Path) -> None:
    watcher = FileWatcher(["own.yml"])
    (folder / "own.yml").write_text(NAS)
    watcher.read()
    (folder / "own.yml").unlink()
    watcher.read()
    assert watcher.files["own.yml"].routes == ()
    assert "no such file" in str(watcher.files["own.yml"].problems[0])


# ---- what may not be read, as an ordinary user


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder ``routes.d`` with two files in the current directory, and the rights of an ordinary user who owns it."""
    with public_folder() as here:
        monkeypatch.chdir(here)
        here.chmod(0o777)
        with as_nobody():
            folder = here / "routes.d"
            folder.mkdir()
            (folder / "a.yml").write_text(NAS)
            (folder / "b.yml").write_text(WIKI)
            yield folder
            folder.chmod(0o700)


@pytest.mark.parametrize("mode", [0o000, 0o600, 0o300, 0o100])
@pytest.mark.parametrize("patterns", [["routes.d/*.yml"], ["routes.d/a.yml", "routes.d/b.yml"], ["*.d/?.yml"]])
def test_files_in_a_forbidden_folder_keep_their_routes(private: Path, mode: int, patterns: list[str]) -> None:
    watcher = FileWatcher(patterns)
    watcher.read()
    private.chmod(mode)
    watcher.read()
    assert [route.alias for file in watcher.files.values() for route in file.routes] == ["nas", "wiki"]
    problems = [str(problem) for file in watcher.files.values() for problem in file.problems]
    is_readable = mode in (0o300, 0o100) and patterns[0] == "routes.d/a.yml"  # it need not be listed
    assert bool(problems) is not is_readable
    assert all("Permission denied; let the user with ID" in problem for problem in problems)
    fresh = read_files(patterns)
    assert any(file.problems for file in fresh) is not is_readable
    private.chmod(0o700)
    watcher.read()
    assert list(watcher.files) == ["routes.d/a.yml", "routes.d/b.yml"]
    assert all(file.is_whole for file in watcher.files.values())
    private.chmod(mode)
    watcher.read()
    private.chmod(0o700)
    (private / "a.yml").unlink()
    watcher.read()
    assert [route.alias for file in watcher.files.values() for route in file.routes] == ["wiki"]


def test_a_file_that_is_named_follows_its_changes_though_its_folder_may_not_be_listed(private: Path) -> None:
    watcher = FileWatcher(["routes.d/*.yml", "routes.d/b.yml"])
    watcher.read()
    private.chmod(0o300)
    (private / "a.yml").write_text("new: {host: 10.0.0.4}")
    (private / "b.yml").write_text("newer: {host: 10.0.0.5}")
    watcher.read()
    assert [route.alias for file in watcher.files.values() for route in file.routes] == ["newer", "nas"]
    assert sorted(watcher.files) == ["routes.d", "routes.d/a.yml", "routes.d/b.yml"]


def test_a_folder_that_may_not_be_listed_hides_no_other_one(private: Path) -> None:
    (private.parent / "b.d").mkdir()
    (private.parent / "b.d" / "c.yml").write_text("box: {host: 10.0.0.4}")
    private.chmod(0)
    found = read_files(["*.d/*.yml", "*.d/none.yml"])
    assert [file.name for file in found] == ["b.d/c.yml", "routes.d/none.yml", "routes.d"]
    assert [route.alias for file in found for route in file.routes] == ["box"]
    assert str(found[2].problems[0]).startswith("routes.d: cannot be listed: Permission denied; let the user with ID")


def test_files_of_a_forbidden_folder_are_dropped_if_no_pattern_wants_them(private: Path) -> None:
    watcher = FileWatcher(["routes.d/*.yml"])
    watcher.read()
    private.chmod(0)
    reloaded = FileWatcher(["routes.d/a*.yml"], known=watcher.files)
    reloaded.read()
    assert [route.alias for file in reloaded.files.values() for route in file.routes] == ["nas"]


async def test_a_folder_that_is_closed_while_it_is_watched_is_a_problem(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL", 0.05)
    async with discover([], files=["routes.d/*.yml"]) as discovery:
        for mode in (0o000, 0o600):
            private.chmod(mode)
            await until(lambda: said(discovery))
            assert list(targets(discovery)) == ["nas", "wiki"]
            await discovery.use_files(["routes.d/*.yml", "none.yml"])
            assert list(targets(discovery)) == ["nas", "wiki"]
            await discovery.use_files(["routes.d/*.yml"])
            private.chmod(0o700)
            await until(lambda: not said(discovery))
        (private / "a.yml").write_text("box: {host: 10.0.0.4}")
        await until(lambda: list(targets(discovery)) == ["box", "wiki"])


async def test_a_folder_that_may_not_be_listed_does_not_delay_changes_in_others(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL", 1000)
    (private.parent / "b.d").mkdir()
    private.chmod(0o300)
    async with discover([], files=["*.d/*.yml"]) as discovery:
        await until(lambda: said(discovery))

        def noticed() -> bool:
            (private.parent / "b.d" / "c.yml").write_text("box: {host: 10.0.0.4}")  # again, until the folder is watched
            return "box" in targets(discovery)

        await until(noticed)


@pytest.mark.parametrize("name", ["/dev/zero", "fifo", "nul\0l.yml"])
def test_what_is_no_regular_file_is_not_read(folder: Path, name: str) -> None:
    os.mkfifo(folder / "fifo")
    (file,) = read_files([name])
    assert "is not a regular file" in str(file.problems[0]) or "null character" in str(file.problems[0])


def test_a_pattern_with_a_folder_that_no_system_can_name_is_a_problem(folder: Path) -> None:
    (folder / "nas.yml").write_text(NAS)
    files = read_files(["nul\0l/*.yml", "*.yml"])
    assert [str(problem) for file in files for problem in file.problems] == [
        "nul\\x00l: cannot be listed: its name contains a null character"
    ]
    assert [route.alias for file in files for route in file.routes] == ["nas"]


def test_a_file_that_breaks_the_reader_is_a_problem_and_no_other_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.yml").write_text(NAS)
    (folder / "b.yml").write_text(WIKI)

    def breaks(text: str, name: str, **more: Any) -> RouteFile:
        if name == "a.yml":
            raise ZeroDivisionError("oh")
        return read_route_file(text, name, **more)

    monkeypatch.setattr(module, "read_route_file", breaks)
    found = read_files(["*.yml"])
    assert [route.alias for file in found for route in file.routes] == ["wiki"]
    assert str(found[0].problems[0]) == "a.yml: internal error: ZeroDivisionError('oh'); please report it"


# ---- in the live table


async def test_routes_of_files_are_in_the_table_at_once_and_follow_the_file(folder: Path) -> None:
    (folder / "own.yml").write_text(NAS)
    async with assert_no_leaks(), discover([], files=["own.yml"]) as discovery:
        assert targets(discovery) == {"nas": "http://10.0.0.2:5000"}
        (folder / "own.yml").write_text(NAS + WIKI)
        await until(lambda: "wiki" in targets(discovery))
        (folder / "own.yml").write_text("nas: {host: x, prot: 1}")
        await until(lambda: said(discovery))
        assert said(discovery) == ["own.yml:1:16: route nas: prot: unknown field; did you mean 'port'?"]
        assert list(targets(discovery)) == ["nas"]
        (folder / "own.yml").unlink()
        await until(lambda: not targets(discovery))


async def test_a_file_replaced_by_renaming_is_noticed(folder: Path) -> None:
    (folder / "own.yml").write_text(NAS)
    async with discover([], files=["own.yml"]) as discovery:
        (folder / "new").write_text(WIKI)
        (folder / "new").rename(folder / "own.yml")
        await until(lambda: list(targets(discovery)) == ["wiki"])


async def test_files_in_a_directory_created_later_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL", 0.1)
    async with discover([], files=["routes.d/*.yml"]) as discovery:
        assert targets(discovery) == {}
        (folder / "routes.d").mkdir()
        (folder / "routes.d" / "own.yml").write_text(NAS)
        await until(lambda: list(targets(discovery)) == ["nas"])


async def test_files_are_polled_if_the_system_reports_no_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POLL", 0.05)

    def none_left(*_: object, **__: object) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("watchfiles.awatch", none_left)
    (folder / "own.yml").write_text(NAS)
    async with discover([], files=["own.yml"]) as discovery:
        (folder / "own.yml").write_text(WIKI)
        await until(lambda: list(targets(discovery)) == ["wiki"])


async def test_the_set_of_files_can_be_replaced(folder: Path) -> None:
    (folder / "a.yml").write_text(NAS)
    (folder / "b.yml").write_text(WIKI)
    async with discover([], files=["a.yml"]) as discovery:
        await discovery.use_files(["b.yml"])
        assert list(targets(discovery)) == ["wiki"]
        assert [file.name for file in discovery.files()] == ["b.yml"]
        await discovery.use_files([])
        assert targets(discovery) == {}


async def test_a_file_that_became_invalid_during_a_reload_keeps_its_routes(folder: Path) -> None:
    (folder / "a.yml").write_text(NAS)
    async with discover([], files=["a.yml"]) as discovery:
        (folder / "a.yml").write_text("a: [")
        await discovery.use_files(["a.yml", "b.yml"])
        assert list(targets(discovery)) == ["nas"]


async def test_a_file_wins_over_containers_until_it_is_deleted(folder: Path) -> None:
    (folder / "own.yml").write_text("web: {host: 10.0.0.9}")
    async with FakeEngine([container("web", labels={"proxy.web.port": "80"})]) as engine:
        config = DockerProviderConfig(engine.url, name="local")
        async with discover([config], files=["own.yml"]) as discovery:
            await discovery.ready()
            assert targets(discovery) == {"web": "http://10.0.0.9:80"}
            (problem,) = said(discovery)
            assert problem.startswith(
                "local/web: alias 'web' belongs to the file own.yml, and files come before contai"
            )
            (folder / "own.yml").unlink()
            await until(lambda: discovery.table.routes["web"].container == "web")
            await until(lambda: len(said(discovery)) == 1)
            assert "no such file" in said(discovery)[0]


async def test_watching_ends_at_once(folder: Path) -> None:
    (folder / "own.yml").write_text(NAS)
    async with discover([], files=["own.yml"]) as discovery:
        await asyncio.sleep(0)
    assert discovery.files()[0].name == "own.yml"
