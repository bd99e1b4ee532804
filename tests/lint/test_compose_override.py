from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.lint.compose_override import override_of

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_override_beside_a_file_of_the_usual_name_counts(tmp_path: Path) -> None:
    file = str(tmp_path / "docker-compose.yaml")
    assert override_of(file) == ""
    (tmp_path / "docker-compose.override.yml").touch()
    assert override_of(file) == str(tmp_path / "docker-compose.override.yml")
    (tmp_path / "compose.override.yaml").touch()
    assert override_of(file) == str(tmp_path / "compose.override.yaml")
    assert override_of(str(tmp_path / "prod.yml")) == ""
