from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pilotage.certificates.settings import AutocertSettings
from pilotage.config.engines import EngineChoice
from pilotage.daemon.certificates import certificate_folder
from pilotage.daemon.settings import Flags
from pilotage.testing import FakeEngine
from tests.support import serving as daemons
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.commandline import Said

_SCRIPT = """\
import sys
import pilotage.cli.main
import pilotage.daemon.daemon
from pilotage.daemon.settings import Flags, build_settings
from pilotage.config.engines import EngineChoice
build_settings(Flags(choice=EngineChoice(config=sys.argv[1])), {})
known = ("acme", "josepy", "lexicon", "dns", "requests", "cryptography", "OpenSSL")
print([name for name in sys.modules if name.partition(".")[0] in known])
print(sorted(name for name in sys.modules if name.startswith("pilotage.certificates.")))
"""


@pytest.mark.process
def test_without_autocert_nothing_of_it_is_imported(tmp_path: Path) -> None:
    config = tmp_path / "pilotage.yml"
    config.write_text("providers: {docker: {local: 'tcp://127.0.0.1:1'}}\n")
    done = subprocess.run([sys.executable, "-c", _SCRIPT, config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    libraries, modules = done.stdout.splitlines()
    assert libraries == "[]"
    pure = ("packages", "settings", "status")
    assert modules == str([f"pilotage.certificates.{name}" for name in pure])


def test_the_folder_is_below_the_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    settings = AutocertSettings()
    assert certificate_folder(settings, {"STATE_DIRECTORY": "/var/lib/gate:/other"}) == Path(
        "/var/lib/gate/certificates"
    )
    assert certificate_folder(AutocertSettings(folder="/srv/c"), {"STATE_DIRECTORY": "/x"}) == Path("/srv/c")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert certificate_folder(settings, {}) == Path("/var/lib/pilotage/certificates")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert certificate_folder(settings, {"HOME": "/h"}) == Path("/h/.local/state/pilotage/certificates")
    assert certificate_folder(settings, {"XDG_STATE_HOME": "/s"}) == Path("/s/pilotage/certificates")


@pytest.mark.process
async def test_routes_without_a_certificate_say_why(
    tmp_path: Path, pilotage: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"https://127.0.0.1:{free_port()}/dir"  # no CA answers there
    async with FakeEngine() as engine:
        engine.add(
            "shop", labels={"proxy.aliases": "shop.example.com, db", "proxy.*.port": "80", "proxy.db.scheme": "tcp"}
        )
        config = tmp_path / "pilotage.yml"
        settings = (
            f"autocert: {{provider: custom, ca_dir_url: {nowhere}, domains: auto, folder: {tmp_path}/certificates}}"
        )
        config.write_text(daemons.configured(engine, more=settings))
        flags = Flags(choice=EngineChoice(config=str(config)), gateway=False)
        monkeypatch.setenv("PILOTAGE_SOCKET", f"{tmp_path}/api.sock")
        async with daemons.serving(flags, tmp_path) as served:
            keeper = served.daemon.certificates

            def failed() -> str:
                found = keeper.self_signed().get("shop.example.com")
                return found.error if found is not None else ""

            await until(failed)
            connector = aiohttp.UnixConnector(f"{tmp_path}/api.sock")
            async with (
                aiohttp.ClientSession("http://pilotage", connector=connector) as session,
                session.get("/v1/routes") as answer,
            ):
                routes = (await answer.json())["routes"]
            assert routes["shop.example.com"]["self_signed"]["names"] == ["shop.example.com"]
            assert routes["shop.example.com"]["self_signed"]["error"] == failed()
            assert routes["db"]["self_signed"] is None
            problems = served.daemon.problems()
            assert len([it for it in problems if "only a self-signed certificate" in it.message]) == 1
            listed = (await asyncio.to_thread(pilotage, "routes")).out
            (line,) = [line for line in listed.splitlines() if line.startswith("shop.example.com ")]
            assert "ready, self-signed certificate" in line
            explained = " ".join((await asyncio.to_thread(pilotage, "explain", "shop.example.com")).out.split())
            assert "has had only a self-signed certificate for shop.example.com since" in explained
            assert "; the last attempt to obtain one from the CA failed:" in explained
