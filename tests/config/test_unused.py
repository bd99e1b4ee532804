from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.config.load import load_config

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.config.load import Config

TLS = "tls: [{cert_file: c.pem, key_file: k.pem}]"


def read(folder: Path, text: str) -> Config:
    for name in ("c.pem", "k.pem", "token"):
        (folder / name).write_text("0123456789abcdef")
    (folder / "pilotage.yml").write_text(text)
    return load_config(folder / "pilotage.yml", {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"gateway: {{https: false, {TLS}}}", "gateway.tls: has no effect, because gateway.https is off; remove one"),
        ("gateway: {hsts: 1h}", "gateway.hsts: has no effect without HTTPS; add gateway.tls, or remove it"),
        (
            "api: {listen: [], token_file: token}",
            "api.token_file: has no effect, because api.listen is empty; remove one",
        ),
    ],
)
def test_a_setting_without_effect_is_reported(text: str, words: str, tmp_path: Path) -> None:
    (problem,) = read(tmp_path, text).problems
    assert f" {words}" in str(problem)
    assert (problem.severity, problem.line) == ("warning", 1)


@pytest.mark.parametrize(
    "text", ["", f"gateway: {{{TLS}, hsts: 1h}}", "gateway: {hsts: 0}", "api: {token_file: token}", "api: {listen: []}"]
)
def test_other_settings_are_not(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text).problems == ()


def test_settings_of_the_local_envoy_are_those_that_the_file_sets(tmp_path: Path) -> None:
    text = "gateway: {drain: 30s, envoy: e, workers: 0, max_connections: 99, log_level: info, retries: 1, http: 81}"
    names = ("drain", "envoy", "workers", "max_connections", "log_level")
    assert read(tmp_path, text).local_settings == tuple(f"gateway.{name}" for name in names)
    assert read(tmp_path, "gateway: {http: 81}").local_settings == read(tmp_path, "").local_settings == ()
