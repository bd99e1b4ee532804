from __future__ import annotations

from typing import Any

import pytest

from pilotage.core.yaml import parse_yaml
from pilotage.lint.published import published_ports


def found(text: str) -> list[tuple[Any, ...]]:
    document = parse_yaml(text)
    return [(it["IP"], it["PublicPort"], it["PrivatePort"], it["Type"]) for it in published_ports(document)]


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ('["9000:80"]', [("0.0.0.0", 9000, 80, "tcp")]),
        ('["127.0.0.1:9000:80/udp"]', [("127.0.0.1", 9000, 80, "udp")]),
        ('["[::1]:9000:80"]', [("::1", 9000, 80, "tcp")]),
        ('["9000-9001:80-81"]', [("0.0.0.0", 9000, 80, "tcp"), ("0.0.0.0", 9001, 81, "tcp")]),
        ("[{target: 80, published: 9000}]", [("0.0.0.0", 9000, 80, "tcp")]),
        ("[{target: 80, published: '9000', host_ip: 127.0.0.1, protocol: udp}]", [("127.0.0.1", 9000, 80, "udp")]),
        ('["80", "x:y", [1], "9000-1:80"]', []),
        ("text", []),
    ],
)
def test_published_ports_of_a_service(text: str, ports: list[tuple[Any, ...]]) -> None:
    assert found(text) == ports


def test_without_ports_there_are_none() -> None:
    assert published_ports(None) == []
