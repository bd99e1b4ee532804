from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pilotage.certificates.settings import AutocertSettings
from pilotage.daemon.certificates import certificate_folder

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
