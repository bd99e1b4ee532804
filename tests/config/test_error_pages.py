from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.config.load import read_config

if TYPE_CHECKING:
    from pathlib import Path


def test_the_folder_of_error_pages_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    config = read_config("error_pages: pages\n", file="pilotage.yml", folder=tmp_path, env={})
    assert (config.options.error_pages, config.problems) == (str(tmp_path / "pages"), ())
    assert read_config("", file="pilotage.yml", folder=tmp_path, env={}).options.error_pages == ""


def test_a_missing_folder_is_a_warning(tmp_path: Path) -> None:
    config = read_config("\nerror_pages: pages\n", file="pilotage.yml", folder=tmp_path, env={})
    (problem,) = config.problems
    assert (problem.severity, problem.line) == ("warning", 2)
