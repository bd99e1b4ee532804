from __future__ import annotations

import pytest

from pilotage.routes.defaults import ALIASES, IMAGES, PREFERRED_PORTS


@pytest.mark.parametrize(
    ("image", "known"),
    [
        ("nginx", ("http", 80)),
        ("jellyfin", ("http", 8096)),
        ("portainer-ce", ("https", 9443)),
        ("postgres", ("tcp", 5432)),
        ("minecraft-server", ("tcp", 25565)),
    ],
)
def test_common_images_are_known(image: str, known: tuple[str, int]) -> None:
    assert IMAGES[image] == known


def test_so_are_two_aliases() -> None:
    assert ALIASES == {"portainer": ("https", 9443), "crafty": ("https", 8080)}


def test_every_entry_can_be_a_target() -> None:
    for scheme, port in [*IMAGES.values(), *ALIASES.values()]:
        assert scheme in {"http", "https", "tcp"}
        assert 0 < port < 65536


def test_the_usual_ports_come_in_their_order() -> None:
    assert PREFERRED_PORTS == (80, 8080, 3000, 8000, 443, 8443)
