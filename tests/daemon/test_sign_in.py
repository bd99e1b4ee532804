"""The session secret. Whole sign-ins are in ``test_sign_in_flow.py``."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
from envoy.service.auth.v3 import external_auth_pb2

from pilotage.daemon.sign_in import start_sign_in
from pilotage.routes.oidc import OidcDefaults
from pilotage.table.table import Table
from pilotage.xds.options import GatewayOptions
from pilotage.xds.server import AdsServer
from tests.support.gateway import route

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DEFAULTS = OidcDefaults(issuer_url="https://id", client_id="gate", client_secret="s", allowed_users=("ann",))
TABLE = Table({"app": route("app", 80, middlewares={"oidc": None})})
CHECK = external_auth_pb2.CheckRequest(
    attributes={
        "context_extensions": {"service": "oidc", "route": "route/app"},
        "request": {"http": {"method": "GET", "host": "app", "path": "/"}},
    }
)


async def begun(table: Table, folder: Path | str = "", env: dict[str, str] | None = None, **settings: Any) -> Any:
    """Publish a table; return the public keys that Envoys get, and the status of an answer to a check."""
    options = GatewayOptions(oidc=msgspec.structs.replace(DEFAULTS, **settings))
    async with AsyncExitStack() as stack:
        ads = await stack.enter_async_context(AdsServer(options))
        start_sign_in(ads, env or {}, str(folder), stack)
        ads.publish(table)
        await asyncio.sleep(0)
        answer = await ads.on_check(CHECK)
        return ads.snapshot.options.session_keys, answer.denied_response.status.code


async def test_without_such_a_route_there_are_no_keys(tmp_path: Path) -> None:
    assert await begun(Table({"app": route("app", 80)}), tmp_path) == ("", 503)
    assert list(tmp_path.iterdir()) == []


async def test_the_secret_is_made_once_and_kept(tmp_path: Path) -> None:
    first = await begun(TABLE, "", {"STATE_DIRECTORY": f"{tmp_path}:/other"})
    assert first[1] == 401
    assert await begun(TABLE, tmp_path) == first
    (file,) = tmp_path.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("session.key", 0o600)


async def test_a_restarted_daemon_verifies_sessions_before_it_knows_the_routes(tmp_path: Path) -> None:
    keys, _ = await begun(TABLE, tmp_path)
    assert (await begun(Table(), tmp_path))[0] == keys


async def test_several_gateways_can_have_the_same_secret(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 40 + "\n")
    one = await begun(TABLE, session_key_file=str(key))
    assert one == await begun(TABLE, session_key="k" * 40)
    assert one != await begun(TABLE, session_key="x" * 40)


async def test_without_a_folder_the_secret_is_temporary_and_a_warning_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await begun(TABLE) != await begun(TABLE)
    assert "users have to sign in again after each restart" in caplog.text
    caplog.clear()
    (tmp_path / "file").touch()
    assert (await begun(TABLE, tmp_path / "file"))[1] == 401
    assert "set oidc.session_key_file" in caplog.text


async def test_with_an_unusable_secret_nobody_gets_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = tmp_path / "key"
    key.write_text("short")
    assert await begun(TABLE, session_key_file=str(key)) == ("", 503)
    assert "is shorter than 32 characters; create one with: openssl rand -hex 32" in caplog.text
    assert (await begun(TABLE, session_key_file=str(tmp_path / "none")))[1] == 503


async def test_a_reload_reads_the_secret_again_and_reports_one_that_it_cannot_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "key"
    key.write_text("short")
    options = GatewayOptions(oidc=msgspec.structs.replace(DEFAULTS, session_key_file=str(key)))
    async with AsyncExitStack() as stack:
        ads = await stack.enter_async_context(AdsServer(options))
        keeper = start_sign_in(ads, {}, "", stack)
        assert keeper.complete(options).session_keys == ""
        key.write_text("k" * 40)
        first = keeper.complete(options).session_keys
        assert first
        caplog.clear()
        key.write_text("short")
        assert keeper.complete(options).session_keys == first
        assert "the previous session secret stays in use" in caplog.text
        key.write_text("x" * 40)
        assert keeper.complete(options).session_keys not in ("", first)
