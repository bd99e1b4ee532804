from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.xds.rule_files import RuleFiles
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.xds.conftest import Envoy

BLOCKS = 'path /a { error 403 "no" }'
LIST = "- on: path /a\n  do: error 403 no\n"


@pytest.mark.parametrize("text", [BLOCKS, LIST, f"// comment\n{BLOCKS}"])
@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize("labelled", [False, True])
def test_a_file_has_the_syntax_of_the_field(tmp_path: Path, text: str, prefix: str, labelled: bool) -> None:
    path = tmp_path / "rules.txt"
    path.write_text(text)
    folders = (str(tmp_path),) if labelled else None
    made, problems = RuleFiles().apply(route("app", 1, rule_file=f"{prefix}{path}", folders=folders))
    assert problems == ()
    assert made.settings.rules


@pytest.mark.parametrize(
    ("content", "labelled", "message"),
    [
        (None, False, "cannot be read"),
        (None, True, "a label may refer only to a file below a folder in gateway.label_files"),
        (b"secret-token x { pass }", False, "'secret-token' is not a condition (line 1 of the file)"),
        (b"\nsecret-token x { pass }", True, "have an error (line 2 of the file)"),
        (b"a: b", False, "condition { command }"),
        (b"\xff", False, "is not text in UTF-8"),
        (b"#" * 70_000, False, "has more than 64 KiB"),
        (b"path /a { pass }" + b" " * 17_000, False, "more than 16,384 characters"),
    ],
)
def test_an_unusable_file_is_a_problem_of_its_route(
    tmp_path: Path, content: bytes | None, labelled: bool, message: str
) -> None:
    path = tmp_path / "r"
    if content is not None:
        path.write_bytes(content)
    given = route("app", 1, rule_file=str(path), folders=(str(tmp_path),) if labelled else None)
    made, (problem,) = RuleFiles().apply(given)
    assert made is given
    assert problem.refused
    assert (message in f"{problem.message} {problem.hint}") or labelled
    assert not labelled or "secret" not in f"{problem}"


def test_a_label_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "r").write_text(BLOCKS)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "r")
    for name in ("r", "inside/link", "inside/../r"):
        given = route("app", 1, rule_file=f"{tmp_path}/{name}", folders=(f"{tmp_path}/inside",))
        assert RuleFiles().apply(given)[1][0].path == "rule_file"


def test_changes_of_files_are_noticed(tmp_path: Path) -> None:
    path, files = tmp_path / "r", RuleFiles()
    files.apply(route("app", 1, rule_file=str(path)))
    assert files.changed() == set()
    path.write_text(BLOCKS)
    assert files.changed() == {"app"} == files.aliases
    files.apply(route("app", 1, rule_file=str(path)))
    assert files.changed() == set()
    path.unlink()
    assert files.changed() == {"app"}
    files.forget("app")
    assert files.changed() == set()


@pytest.mark.proves("rule_file")
async def test_envoy_follows_the_file(envoy: Envoy, tmp_path: Path) -> None:
    path = tmp_path / "rules"
    path.write_text(BLOCKS)
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, rule_file=str(path)), route("other", it.port))

        async def statuses() -> list[int]:
            return [(await gw.ask("app", name)).status for name in ("/a", "/b")]

        assert await statuses() == [403, 200]
        path.write_text('path /b { error 410 "gone" }')
        await becomes(statuses, [200, 410])
        path.write_text("not rules")
        await becomes(statuses, [404, 404])
        assert (await gw.ask("other", "/a")).status == 200
        path.unlink()
        path.write_text(BLOCKS)
        await becomes(statuses, [403, 200])
