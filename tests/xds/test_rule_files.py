from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from pilotage.daemon.files import start_file_server
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
        (b"#" * 70_000, False, "is larger than 64 KiB"),
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


async def test_rules_in_a_file_send_requests_elsewhere(envoy: Envoy, tmp_path: Path) -> None:
    path, page = tmp_path / "rules", tmp_path / "page.html"
    page.write_text("page")
    async with (
        target("own") as own,
        target("other") as other,
        target("far") as far,
        envoy(files_socket=str(tmp_path / "files.sock")) as gw,
        AsyncExitStack() as stack,
    ):
        await start_file_server(gw.ads, stack)
        path.write_text(f"path /far {{ proxy http://127.0.0.1:{far.port} }}")
        app = route("app", own.port, rule_file=str(path), container="", folders=None)
        labelled = route("label", own.port, rule_file=str(path), folders=(str(tmp_path),))
        await gw.publish(app, labelled, route("other", other.port))

        async def answers(host: str = "app") -> list[str]:
            found = [await gw.ask(host, name) for name in ("/far", "/other", "/page", "/else")]
            return [it.by or (it.body.decode() if it.status == 200 else str(it.status)) for it in found]

        assert await answers() == ["far", "own", "own", "own"]
        assert await answers("label") == ["404"] * 4  # as with the field rules: loopback is not for containers
        (problem,) = [it for it in gw.ads.problems if it.route == "label"]
        assert (problem.path, problem.refused, "a loopback address" in problem.message) == ("rule_file", True, True)
        path.write_text(f"path /other {{ route other }}\npath /page {{ serve_file {page} }}")
        await becomes(answers, ["own", "other", "page", "own"])
        path.write_text(f"path /page {{ serve {tmp_path} }}\npath /far {{ route nobody }}")
        page.rename(tmp_path / "page")
        await becomes(answers, ["503", "own", "page", "own"])
        messages = [it.message for it in gw.ads.problems if it.route == "app" and it.path == "rule_file"]
        assert messages == [
            "requests that its rules send to the route 'nobody' are rejected, because that route is not served"
        ]
        path.write_text("\npath /far { log info /elsewhere x }")
        await becomes(answers, ["404"] * 4)
        (problem,) = [it for it in gw.ads.problems if it.route == "app"]
        assert (problem.path, problem.message) == (
            "rule_file",
            f"{str(path)!r}: log cannot write to '/elsewhere' (line 2 of the file)",
        )
        path.write_text("")
        await becomes(answers, ["own"] * 4)
        assert not [it for it in gw.ads.problems if it.route == "app"]
