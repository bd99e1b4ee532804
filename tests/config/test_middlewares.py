from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.config.load import read_config
from pilotage.config.middlewares import read_middlewares
from pilotage.xds.capabilities import GatewayCapabilities

if TYPE_CHECKING:
    from pathlib import Path

LAN = "lan: [{use: cidr_whitelist, allow: [10.0.0.0/8]}]\n"


def test_the_files_that_the_configuration_lists_are_read(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text(LAN)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.yml").write_text("b: [{use: redirect_http}]\n")
    (tmp_path / "more" / "a.yml").write_text("a: [{use: b@file}]\n")
    text = "providers:\n  middlewares: [one.yml, more/*.yml, none/*.yml]\n"
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    assert config.problems == ()
    assert config.middleware_files == tuple(str(tmp_path / name) for name in ("one.yml", "more/*.yml", "none/*.yml"))
    gateway = config.policy.gateway
    assert isinstance(gateway, GatewayCapabilities)
    found, missing = gateway.fill_in({"lan@file": None, "a@file": None})
    assert (list(found or ()), missing) == (
        ["lan@file\n000\ncidr_whitelist", "a@file\n000\nredirect_http"],
        (),
    )


def test_an_error_in_a_file_is_a_warning_that_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text(LAN)
    (tmp_path / "bad.yml").write_text("bad: [{use: nothing}]\n")
    text = "providers:\n  middlewares: [bad.yml, good.yml, missing.yml]\n"
    config = read_config(text, file="pilotage.yml", folder=tmp_path, env={})
    found = [(problem.severity, problem.file.rpartition("/")[2], problem.line) for problem in config.problems]
    assert sorted(found) == [("warning", "bad.yml", 1), ("warning", "missing.yml", 0)]
    gateway = config.policy.gateway
    assert gateway is not None
    assert gateway.fill_in({"lan@file": None})[1] == ()
    assert len(gateway.fill_in({"bad@file": None})[1]) == 1


def test_there_is_a_limit_of_files(tmp_path: Path) -> None:
    for number in range(101):
        (tmp_path / f"{number:03}.yml").write_text(f"list{number}: []\n")
    compositions, problems = read_middlewares([f"{tmp_path}/*.yml", f"{tmp_path}/000.yml"])
    assert len(compositions.lists) == 100
    (problem,) = problems
    assert problem.message.startswith("there are more than 100 files of middlewares")
    assert problem.severity == "warning"
