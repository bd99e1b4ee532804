"""Files served by a running daemon, through its Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.policy import ROOT_REFUSED
from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.front_door import front_door
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]


def _site(folder: Path) -> Path:
    (folder / "docs").mkdir(parents=True)
    (folder / "index.html").write_text("<p>home")
    (folder / "docs" / "index.html").write_text("<p>docs")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 20_000)
    (folder / ".env").write_text("secret")
    return folder


@pytest.mark.proves("root", "spa", "index")
def test_a_route_file_serves_a_folder(tmp_path: Path) -> None:
    site, spa = _site(tmp_path / "site"), _site(tmp_path / "spa")
    (spa / "start.html").write_text("<p>start")
    (site / "out").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("secret")
    routes = {
        "site": {"scheme": "fileserver", "root": str(site)},
        "spa": {"scheme": "fileserver", "root": str(spa), "spa": True, "index": "start.html"},
        "later": {"scheme": "fileserver", "root": str(tmp_path / "later")},
        "closed": {
            "scheme": "fileserver",
            "root": str(site),
            "middlewares": {"cidr_whitelist": {"allow": ["10.0.0.0/8"]}},
        },
    }
    with front_door(tmp_path, routes) as door:
        home = door.get("site")
        assert (home.status, home.body, home.headers["content-type"]) == (200, b"<p>home", "text/html; charset=utf-8")
        assert door.get("site", "/docs").headers["location"] == "/docs/"
        assert door.get("site", "/docs/").body == b"<p>docs"
        large = door.get("site", "/large.bin")
        assert len(large.body) == 256 * 20_000
        part = door.get("site", "/large.bin", {"Range": "bytes=300-399", "Accept-Encoding": "gzip"})
        assert (part.status, part.body) == (206, (bytes(range(256)) * 2)[300:400])
        assert door.get("site", "/large.bin", {"If-None-Match": large.headers["etag"]}).status == 304
        for path in ("/.env", "/out/secret", "/../secret", "/..%2fsecret", "/%2e%2e%2fsecret", "/none", "/docs//"):
            answer = door.get("site", path)
            assert (answer.status, b"secret" in answer.body) in {(404, False), (400, False)}, path
        assert door.say("DELETE /large.bin HTTP/1.1\nHost: site\nConnection: close\n\n").status == 405
        assert door.say("HEAD / HTTP/1.1\nHost: site\nConnection: close\n\n").headers["content-length"] == "7"
        assert [door.get("spa", path).body for path in ("/", "/any/where")] == [b"<p>start"] * 2
        assert door.get("closed").status == 403
        # A folder that does not exist yet is a problem, until it does.
        assert door.get("later").status == 404
        _, problems = door.api("/v1/problems")
        assert "there is no folder" in str(problems)
        _site(tmp_path / "other").rename(tmp_path / "later")
        wait_until(lambda: door.get("later").status == 200, lambda: door.log)


async def test_a_label_publishes_only_folders_that_the_operator_lists(tmp_path: Path) -> None:
    public, private = _site(tmp_path / "public" / "site"), _site(tmp_path / "private")
    async with FakeEngine() as engine:
        for name, root in (("good", public), ("evil", private), ("link", tmp_path / "public" / "link")):
            engine.add(name, labels={f"proxy.{name}.scheme": "fileserver", f"proxy.{name}.root": str(root)})
        (tmp_path / "public" / "link").symlink_to(private)
        config = f"gateway:\n  label_roots: [{tmp_path}/public]\n  label_files: [{tmp_path}]"
        async with pilotage_serve(tmp_path, engine, config=config) as command:
            await command.answers("good.localhost", (200, "<p>home"))
            for name in ("evil", "link"):
                assert await command.status(f"{name}.localhost") == 404
                assert ROOT_REFUSED in await command.problems(name)
            # A link that is swapped in later leads nowhere, either.
            public.rename(tmp_path / "moved")
            public.symlink_to(private)
            assert await command.status("good.localhost") in (404, 503)
