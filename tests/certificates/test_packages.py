from __future__ import annotations

import sys

import pytest

from pilotage.certificates.packages import check_packages
from pilotage.certificates.settings import AutocertSettings
from pilotage.core.errors import ConfigError
from tests.support.certificates import entry


def test_a_missing_package_is_an_error_that_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    check_packages(AutocertSettings())
    check_packages(AutocertSettings((entry(),)))
    for name in [name for name in sys.modules if name.startswith("pilotage.certificates.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "acme", None)
    with pytest.raises(ConfigError, match=r"pip install 'pilotage\[gateway,certificates\]'"):
        check_packages(AutocertSettings((entry(),)))
