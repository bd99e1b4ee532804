from __future__ import annotations

import re
from pathlib import Path

from pilotage.routes.defaults import ALIASES, IMAGES, PREFERRED_PORTS

RULES = Path(__file__).parent.parent.parent / "docs" / "reference" / "label-rules.md"
TABLES = RULES.read_text().partition("### 6.4 Tables\n")[2].partition("\n### ")[0]


def documented(kind: str) -> dict[str, tuple[str, int]]:
    """Return the entries of the documented tables of images or aliases."""
    found = {}
    # "*Image name → http*: nginx 80, ...", and "*→ tcp*: ..." for another scheme of the same
    current = ""
    for title, scheme, entries in re.findall(r"^\*([^*\n]*)→ (\w+)\*: ([^*]*?)\.(?:\s|$)", TABLES, re.MULTILINE):
        current = title.strip() or current
        if current == kind:
            pairs = (entry.split() for entry in entries.split(","))
            found.update({name: (scheme, int(port)) for name, port in pairs})
    return found


def test_the_known_images_are_the_documented_ones() -> None:
    assert documented("Image name") == IMAGES
    assert len(IMAGES) == 42


def test_so_are_the_known_aliases() -> None:
    assert documented("Alias") == ALIASES
    assert len(ALIASES) == 2


def test_the_usual_ports_come_in_their_order() -> None:
    assert PREFERRED_PORTS == (80, 8080, 3000, 8000, 443, 8443)
    assert f"*Preferred port*: the first of {', '.join(map(str, PREFERRED_PORTS))} that" in TABLES
