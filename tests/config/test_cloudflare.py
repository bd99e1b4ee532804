from __future__ import annotations

from pathlib import Path

import pytest

from pilotage.config.load import read_config
from pilotage.core.errors import ConfigError
from pilotage.xds.cloudflare import CLOUDFLARE_LISTS


def read(text: str) -> tuple[str, ...]:
    return read_config(text, file="pilotage.yml", folder=Path("/nowhere"), env={}).options.cloudflare_lists


def test_the_lists_are_cloudflare_s_unless_the_section_names_others_or_none() -> None:
    assert read("{}") == read("cloudflare: {}") == CLOUDFLARE_LISTS
    assert read("cloudflare: {lists: http://10.0.0.1/ips}") == ("http://10.0.0.1/ips",)
    assert read("cloudflare: {lists: []}") == ()


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        read("cloudflare: {lists: [ips.txt]}")
    assert "not the URL of a service" in str(caught.value)
