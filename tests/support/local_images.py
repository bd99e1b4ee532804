"""Images under the names of published ones, built from this machine's programs without an image registry.

``PYTHON``    the Python that runs the tests, a shell and pip. pip finds packages only in ``/wheels``: wheels made from
              the packages that are installed here.
``HAPROXY``   this machine's HAProxy, started as the published image starts it.
``WHOAMI``    the small web server of :mod:`tests.support.images`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from tests.support.images import WEB
from tests.support.install import debian_packages
from tests.support.socketproxy import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.engines import Engine

__all__ = ["HAPROXY", "PYTHON", "WHOAMI", "build_local_images"]

PYTHON: Final = "python:3.13-slim"
HAPROXY: Final = "haproxy:3.0-alpine"
WHOAMI: Final = "traefik/whoami:v1.10"

ROOT: Final = Path(__file__).parents[2]
_BUSYBOX: Final = Path("/bin/busybox")
_LEFT_OUT: Final = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "site-packages", "dist-packages"}
_LIBRARY: Final = re.compile(r"(?:=> )?(/\S+) \(0x")


def build_local_images(engine: Engine, folder: Path) -> None:
    """Build all stand-ins on an engine.

    Args:
        engine: where to build them.
        folder: an empty folder for intermediate files (a few hundred megabytes).

    """
    debian_packages(PACKAGES)
    engine.docker("tag", WEB, WHOAMI)
    haproxy = Path(shutil.which("haproxy") or "/usr/sbin/haproxy")
    with _Root(folder / "haproxy.tar") as root:
        root.add_shell()
        root.add_program(haproxy)
        root.add_text("var/lib/haproxy/keep", "")
    configuration = "/usr/local/etc/haproxy/haproxy.cfg"
    _import(engine, root, HAPROXY, f'ENTRYPOINT ["{haproxy}","-W","-db"]', f'CMD ["-f","{configuration}"]')
    with _Root(folder / "python.tar") as root:
        _add_python(root)
        for wheel in make_wheels(folder / "wheels"):
            root.add(wheel, f"wheels/{wheel.name}")
    # Compiling would take most of the test's time, and the test does not look at it.
    settings = {"PATH": "/usr/local/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "PIP_COMPILE": "0"}
    _import(engine, root, PYTHON, *(f"ENV {name}={value}" for name, value in settings.items()))


def make_wheels(folder: Path) -> list[Path]:
    """Make wheels from the installed packages that pilotage runs with.

    Files that an installation adds (compiled files, entry points) are left out; the next one adds them again.
    """
    folder.mkdir()
    made = []
    for package in _needed():
        files = [file for file in package.files or () if ".." not in file.parts and "__pycache__" not in file.parts]
        tags = re.findall(r"^Tag: (\S+)$", package.read_text("WHEEL") or "", re.MULTILINE)
        assert tags, f"{package.metadata['Name']} was not installed from a wheel"
        name = re.sub(r"[-_.]+", "_", package.metadata["Name"])
        wheel = folder / f"{name}-{package.version}-{tags[-1]}.whl"  # the last is the newest Python's
        with zipfile.ZipFile(wheel, "w", strict_timestamps=False) as archive:
            for file in files:
                archive.write(package.locate_file(file).__fspath__(), file.as_posix())  # type: ignore[attr-defined]
        made.append(wheel)
    return made


def _needed() -> Iterator[importlib.metadata.Distribution]:
    """Yield the installed distributions of ``requirements/run.txt`` and ``build.txt``."""
    text = "".join((ROOT / "requirements" / f"{name}.txt").read_text() for name in ("run", "build"))
    for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # what wants it will tell
            yield importlib.metadata.distribution(name)


class _Root:
    """The tar archive of an image's files: programs and the libraries that they link to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._there: set[str] = set()
        self._archive = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115  # closed in __exit__

    def __enter__(self) -> Self:
        for directory in ("tmp", "proc", "sys", "dev", "run", "var/run"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            self._archive.addfile(entry)
        self.add_text("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        self.add_text("etc/group", "root:x:0:\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def add(self, path: Path, name: str = "") -> None:
        """Add a file with its mode, unless there is one of this name."""
        name = name or str(path).lstrip("/")
        if name not in self._there:
            self._there.add(name)
            self._archive.add(path.resolve(), name, recursive=False, filter=_roots)

    def add_text(self, name: str, text: str, mode: int = 0o644) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(text.encode()), mode
        self._archive.addfile(entry, io.BytesIO(text.encode()))

    def link(self, name: str, target: str) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._archive.addfile(entry)

    def add_shell(self) -> None:
        self.add(_BUSYBOX, "bin/busybox")
        for applet in "sh mkdir touch env ls cat id".split():
            self.link(f"bin/{applet}", "busybox")

    def add_program(self, *programs: Path) -> None:
        """Add programs or libraries at the same paths, and the libraries that they link to."""
        for program in programs:
            self.add(program)
        self.add_libraries(programs)

    def add_libraries(self, linked: Iterable[Path]) -> None:
        for library in _libraries(linked):
            self.add(Path(library))


def _add_python(root: _Root) -> None:
    root.add_shell()
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = Path(sys.executable).resolve()
    root.add_program(interpreter)
    root.link("usr/local/bin/python", str(interpreter))
    library = base / "lib" / version
    for path in sorted(library.rglob("*")):
        parts = path.relative_to(library).parts
        unwanted = _LEFT_OUT.intersection(parts) or "__pycache__" in parts or parts[0].startswith("config-")
        if path.is_file() and not unwanted:
            root.add(path)
    # this machine's pip in its own folder, without the base's other packages
    import pip

    pip_folder = Path(pip.__file__).parent
    for path in sorted(pip_folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            root.add(path, f"usr/local/lib/pip/pip/{path.relative_to(pip_folder)}")
    command = '#!/bin/sh\nexec env PYTHONPATH=/usr/local/lib/pip python -m pip "$@"\n'
    root.add_text("usr/local/bin/pip", command, 0o755)
    extensions = [
        Path(str(package.locate_file(file)))
        for package in _needed()
        for file in package.files or ()
        if file.suffix == ".so" or file.name == "envoy"
    ]
    root.add_libraries([*(library / "lib-dynload").glob("*.so"), *(path for path in extensions if path.is_file())])


def _libraries(linked: Iterable[Path]) -> list[str]:
    """Return the linker, and the libraries that it finds for programs and libraries; without those of wheels."""
    done = subprocess.run(["ldd", *map(str, linked)], capture_output=True, text=True, check=False, timeout=60)
    inside = str(Path(sys.prefix))
    return sorted({path for path in _LIBRARY.findall(done.stdout) if not path.startswith(f"{inside}/")})


def _roots(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _import(engine: Engine, root: _Root, name: str, *changes: str) -> None:
    options = [word for change in changes for word in ("--change", change)]
    engine.docker("import", *options, str(root.path), name, timeout=120)
