"""Compose files for tests of ``pilotage check``. The tests run in an empty folder."""

from __future__ import annotations

from pathlib import Path

from pilotage.lint.check import check_file

__all__ = ["labels", "said", "service"]


def said(text: str, **env: str) -> list[str]:
    """Write ``compose.yml`` to the current folder and return its problems."""
    Path("compose.yml").write_text(text)
    return [f"{problem.severity}: {problem}" for problem in check_file("compose.yml", env).problems]


def service(*lines: str, name: str = "web") -> str:
    """Return a service with these lines below ``labels``."""
    return f"  {name}:\n    image: acme/{name}\n    container_name: {name}\n    labels:\n" + "".join(
        f"      {line}\n" for line in lines
    )


def labels(*lines: str) -> str:
    """Return a Compose file with one service; see :func:`service`."""
    return "services:\n" + service(*lines)
