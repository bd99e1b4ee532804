from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.config.engines import EngineChoice
from pilotage.core.errors import ConfigError, GatewayError
from pilotage.daemon.settings import Flags, build_settings
from pilotage.daemon.xds import start_xds
from pilotage.routes import AsWritten
from pilotage.xds.failures import CAUSES, Failure
from pilotage.xds.options import GatewayOptions
from pilotage.xds.server import AdsServer

if TYPE_CHECKING:
    from pathlib import Path


SETTINGS = build_settings(Flags(choice=EngineChoice(engines=("unix:///nowhere.sock",))), {})

WRITTEN = AsWritten(dict, lambda _: None, tuple)


def folder(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path


async def test_both_sockets_accept_only_their_owner(tmp_path: Path) -> None:
    own, other = folder(tmp_path / "own") / "ads.sock", folder(tmp_path / "other") / "ads.sock"
    async with AdsServer(GatewayOptions()) as ads:
        await start_xds(ads, f"unix:{own}", SETTINGS, public=f"unix:{other}", written=WRITTEN)
        assert [path.stat().st_mode & 0o777 for path in (own, other)] == [0o600, 0o600]


async def test_failed_requests_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with AdsServer(GatewayOptions()) as ads:
        await start_xds(ads, f"unix:{folder(tmp_path / 'own')}/ads.sock", SETTINGS, public="", written=WRITTEN)
        ads.failures.on_failure(Failure(CAUSES[0], "shop"))
    assert caplog.messages == [f"route shop: {CAUSES[0].words} (no response); {CAUSES[0].advice}"]


async def test_an_address_that_cannot_be_used_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with AdsServer(GatewayOptions()) as ads:
        with pytest.raises(GatewayError, match="set TMPDIR to a folder that supports sockets"):
            await start_xds(ads, f"unix:{tmp_path}/file/ads.sock", SETTINGS, public="", written=WRITTEN)
        own = folder(tmp_path / "own")
        with pytest.raises(ConfigError, match=r"cannot serve other Envoys on unix:.*file/ads\.sock"):
            await start_xds(
                ads, f"unix:{own}/ads.sock", SETTINGS, public=f"unix:{tmp_path}/file/ads.sock", written=WRITTEN
            )
