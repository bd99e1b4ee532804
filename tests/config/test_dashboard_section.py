from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.config.load import load_config
from pilotage.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.config.load import Config


def read(folder: Path, text: str) -> Config:
    (folder / "token").write_text("0123456789abcdef")
    (folder / "pilotage.yml").write_text(text)
    return load_config(folder / "pilotage.yml", {})


def test_the_dashboard_has_hosts_and_middlewares(tmp_path: Path) -> None:
    text = "api: {token_file: token}\ndashboard: {host: [Pilotage.Example.org, localhost, localhost]}"
    assert read(tmp_path, text).api.dashboard.hosts == ("pilotage.example.org", "localhost")
    found = read(tmp_path, "dashboard: {host: pilotage, middlewares: {oidc: }}").api.dashboard
    assert (found.hosts, found.middlewares) == (("pilotage",), {"oidc": None})
    assert read(tmp_path, "{}").api.dashboard.hosts == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{host: pilotage}", "nobody could open the dashboard there, because nobody can sign in; set api.token_file"),
        ("{host: 'https://a'}", "'https://a' is not a host name; write one such as pilotage.example.com"),
        ("{host: '*.example.com'}", "'*.example.com' is not a host name"),
        ("{host: a, middlewares: {oidc: , modify_request: {}}}", "the dashboard cannot have this middleware"),
        ("{middlewares: {oidc: }}", "has no effect without dashboard.host"),
        ("{hots: a}", "unknown key 'hots'; did you mean 'host'?"),
    ],
)
def test_mistakes_are_reported_in_their_place(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"dashboard: {text}")
    (problem,) = caught.value.problems
    assert words in str(problem)
    assert problem.line == 1


def test_without_a_gateway_the_setting_is_local(tmp_path: Path) -> None:
    assert read(tmp_path, "dashboard: {host: a, middlewares: {oidc: }}").local_settings == ("dashboard.host",)
