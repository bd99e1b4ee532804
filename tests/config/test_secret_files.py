from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.config.secret_files import Unset, secret_in_file, secret_of
from pilotage.config.substitute import fill_in, variables

if TYPE_CHECKING:
    from pathlib import Path


def test_a_variable_can_name_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    env = {"TOKEN_FILE": str(tmp_path / "token")}
    assert fill_in("Bearer ${TOKEN}", env) == "Bearer secret"
    assert fill_in("${TOKEN:-none}", env) == "secret"
    assert variables("${TOKEN}", env) == {"TOKEN": "secret"}  # which problems do not show
    assert fill_in("${TOKEN}", {**env, "TOKEN": "direct"}) == "direct"


@pytest.mark.parametrize("name", ["CF_TOKEN", "cf_token"])
def test_systemd_credentials_are_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("secret\n")
    assert fill_in("${CF_TOKEN}", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "secret"


def test_nothing_outside_the_credentials_is_read(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "other").write_text("secret")
    assert secret_of("../other", {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}) is None
    assert secret_of("OTHER", {}) is None


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for path, why in ((tmp_path / "none", "No such file"), (tmp_path / "empty", "is empty"), (tmp_path, "directory")):
        with pytest.raises(Unset) as caught:
            secret_in_file(path)
        assert why in caught.value.message
    with pytest.raises(Unset):
        fill_in("${TOKEN:-none}", {"TOKEN_FILE": str(tmp_path / "none")})
    assert variables("${TOKEN}", {"TOKEN_FILE": str(tmp_path / "none")}) == {}
