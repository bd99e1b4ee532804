from __future__ import annotations

import pytest
from pydantic import ValidationError

from pilotage.config.engine_section import EngineEntry


def test_an_engine_has_a_url_or_its_parts() -> None:
    assert EngineEntry.model_validate({"url": "tcp://10.0.0.2:2375"}).url == "tcp://10.0.0.2:2375"
    assert EngineEntry.model_validate({"scheme": "tls", "host": "a", "port": 2376}).port == 2376
    for wrong in ({"scheme": "ftp"}, {"port": 0}, {"hots": "a"}):
        with pytest.raises(ValidationError):
            EngineEntry.model_validate(wrong)
