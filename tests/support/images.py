"""Images for test containers: a few hundred kilobytes each, built from busybox without a registry.

``WEB``       a web server on port 80 that responds ``hello``. It has STOPSIGNAL SIGKILL, because it ignores SIGTERM as
              process 1 and would take ten seconds to stop.
``HEALTH``    the same, healthy once ``/tmp/ok`` exists; checked every second.
``GRACEFUL``  the same, but its process 1 handles SIGTERM and exits with status 0.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Final

__all__ = ["GRACEFUL", "HEALTH", "IMAGES", "WEB", "build_context"]

WEB: Final = "pilotage/web:1"
HEALTH: Final = "pilotage/health:1"
GRACEFUL: Final = "pilotage/graceful:1"

_SERVE: Final = 'CMD ["httpd", "-f", "-p", "80", "-h", "/www"]\n'
_LOOP: Final = "trap 'exit 0' TERM; httpd -p 80 -h /www; while :; do sleep 3600 & wait $!; done"

#: Image name -> the end of its Dockerfile.
IMAGES: Final = {
    WEB: "STOPSIGNAL SIGKILL\n" + _SERVE,
    HEALTH: "STOPSIGNAL SIGKILL\nHEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD test -e /tmp/ok\n" + _SERVE,
    GRACEFUL: f'CMD ["sh", "-c", "{_LOOP}"]\n',
}

_BUSYBOX: Final = Path("/bin/busybox")
_APPLETS: Final = "sh httpd sleep cat echo wget nc ls ip ps kill test true false touch rm env".split()


def build_context(image: str) -> bytes:
    """Return the tar archive for ``docker build -`` of one of ``IMAGES``.

    The image is built from this machine's static busybox if there is one, else from the public ``busybox`` image.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        if _BUSYBOX.exists():
            head = "FROM scratch\nCOPY root /\nENV PATH=/bin\n"
            archive.add(_BUSYBOX, "root/bin/busybox")
            for applet in _APPLETS:
                link = tarfile.TarInfo(f"root/bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
            for directory in ("tmp", "proc", "sys", "dev"):
                entry = tarfile.TarInfo(f"root/{directory}")
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            _add(archive, "root/etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        else:
            head = "FROM busybox:stable\nCOPY root /\n"
        _add(archive, "root/www/index.html", "hello\n")
        _add(archive, "Dockerfile", f"{head}EXPOSE 80\n{IMAGES[image]}")
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text.encode()), 0o644
    archive.addfile(entry, io.BytesIO(text.encode()))
