from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.config.load import read_config
from pilotage.config.trusted_proxies import with_known_proxies
from pilotage.core.errors import ConfigError
from pilotage.xds.cloudflare import CLOUDFLARE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("value", [None, 5, "10.0.0.0/8", {}, [5, "x"]])
def test_other_values_stay_as_they_are(value: Any) -> None:
    assert with_known_proxies(value) == value


def test_cloudflare_stands_for_its_networks(tmp_path: Path) -> None:
    text = "gateway:\n  trusted_proxies: [10.0.0.0/8, cloudflare]\n"
    options = read_config(text, file="pilotage.yml", folder=tmp_path, env={}).options
    assert options.trusted_proxies == ("10.0.0.0/8", *CLOUDFLARE)
    with pytest.raises(ConfigError):
        read_config(text.replace("cloudflare", "cloudflair"), file="pilotage.yml", folder=tmp_path, env={})
