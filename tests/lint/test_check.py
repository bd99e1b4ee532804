"""Files looked over without an engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilotage.lint.check import check_file, check_files


def said(folder: Path, text: str, name: str = "compose.yml", **env: str) -> list[str]:
    (folder / name).write_text(text)
    return [str(problem) for problem in check_file(name, env).problems]


def labels(*lines: str) -> str:
    return "services:\n  web:\n    image: acme/web\n    labels:\n" + "".join(f"      {line}\n" for line in lines)


# ---- compose files


def test_valid_labels_have_no_problems(folder: Path) -> None:
    text = labels("proxy.aliases: shop, admin", "proxy.shop.port: 8080", "proxy.network: any", "com.acme.owner: me")
    assert said(folder, text) == []


def test_an_error_in_a_mapping_of_labels_has_its_line(folder: Path) -> None:
    (problem,) = said(folder, labels("proxy.web.prot: 8080"))
    assert problem == "compose.yml:5:7: web: proxy.web.prot: unknown field; did you mean 'port'?"


def test_an_error_in_a_list_of_labels_has_its_line(folder: Path) -> None:
    (problem,) = said(folder, labels("- proxy.web.port=80", "- proxy.web.scheme=htps"))
    assert problem.startswith("compose.yml:6:9: web: proxy.web.scheme: ")
    assert "did you mean 'https'?" in problem


def test_an_error_inside_a_block_scalar_has_the_line_of_the_file(folder: Path) -> None:
    (problem,) = said(folder, labels("proxy.web: |", "  scheme: https", "  pott: 1"))
    assert problem.startswith("compose.yml:7: web: proxy.web: pott: unknown field")


def test_labels_of_the_container_are_checked_too(folder: Path) -> None:
    (problem,) = said(folder, labels("proxy.exclude: maybe"))
    assert "compose.yml:5:7: web: proxy.exclude: 'maybe' is not a boolean" in problem


def test_a_mapping_is_not_a_label_value(folder: Path) -> None:
    (problem,) = said(folder, labels("proxy.web:", "  port: 80"))
    assert problem.startswith("compose.yml:5:7: web: proxy.web: a label must be text, not a mapping; write '|'")


def test_a_namespace_that_is_nearly_ours_is_a_warning(folder: Path) -> None:
    (problem,) = said(folder, labels("prxy.web.port: 80"))
    assert "did you mean 'proxy.web.port'?" in problem


def test_services_that_claim_one_alias_are_reported(folder: Path) -> None:
    text = "services:\n  a: {labels: {proxy.aliases: x}}\n  b: {labels: {proxy.aliases: x}}\n"
    (problem,) = said(folder, text)
    assert problem.startswith("compose.yml:3:16: b: service 'a' also uses the alias 'x'")


@pytest.mark.parametrize(
    "text", ["services:\n", "services: []\n", "services: {a: , b: {labels: }}\n", "services: {a: 1}"]
)
def test_a_service_without_labels_has_no_problems(folder: Path, text: str) -> None:
    assert said(folder, text) == []


# ---- other files


def test_a_configuration_is_checked_with_the_files_it_names(folder: Path) -> None:
    (folder / "own.yml").write_text("nas: {host: h, prot: 1}\n")
    (folder / "my.yml").write_text("providers:\n  docker: {local: unix:///run/x.sock}\n  files: own.yml\n")
    found = check_file("my.yml", {})
    assert found.files == {"my.yml": "configuration", "own.yml": "routes"}
    assert [str(problem) for problem in found.problems] == [
        "own.yml:1:16: route nas: prot: unknown field; did you mean 'port'?"
    ]


def test_all_errors_of_a_configuration_are_reported(folder: Path) -> None:
    found = said(folder, "providers: {docker: {a: {sheme: tcp}, b: x://y}}\n", "pilotage.yml")
    assert len(found) == 2
    assert "did you mean 'scheme'?" in found[0]


def test_any_other_file_holds_routes(folder: Path) -> None:
    (folder / "own.yml").write_text("api: {host: h, prot: 1}\n")
    assert check_file("own.yml", {}).files == {"own.yml": "routes"}
    assert len(check_file("own.yml", {}).problems) == 1


@pytest.mark.parametrize(("text", "kind"), [("services:\n  a: [", "compose"), ("a: [", "routes")])
def test_invalid_yaml_is_an_error_with_its_position(folder: Path, text: str, kind: str) -> None:
    (folder / "x.yml").write_text(text)
    found = check_file("x.yml", {})
    assert found.files == {"x.yml": kind}
    assert found.problems[0].line > 0


def test_an_unreadable_file_is_reported(folder: Path) -> None:
    (folder / "bytes").write_bytes(b"\xff\xfe")
    found = check_files(["none", "bytes"], {})
    assert found.files == {"none": "unreadable", "bytes": "unreadable"}
    assert [str(problem) for problem in found.problems] == [
        "none: cannot be read: No such file or directory",
        "bytes: is not UTF-8 text; save it as UTF-8",
    ]


def test_a_problem_shared_by_two_files_is_reported_once(folder: Path) -> None:
    (folder / "own.yml").write_text("nas: {host: h, prot: 1}\n")
    (folder / "pilotage.yml").write_text("providers:\n  files: own.yml\n")
    found = check_files(["pilotage.yml", "own.yml"], {})
    assert list(found.files) == ["pilotage.yml", "own.yml"]
    assert len(found.problems) == 1


def test_the_readmes_compose_file_has_the_slip_that_it_shows(folder: Path) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (example,) = [part for part in text.split("```") if part.startswith("yaml\nservices:")]
    (problem,) = said(folder, example.removeprefix("yaml\n"))
    assert "shop: proxy.admin.pot: unknown field; did you mean 'port'?" in problem


@pytest.mark.parametrize("name", ["pilotage.yml", "compose.yml", "routes.yml"])
def test_a_pipe_and_a_device_end_with_an_error(folder: Path, name: str) -> None:
    os.mkfifo(folder / name)
    found = check_files([name, "/dev/zero"], {})
    assert found.files == {name: "unreadable", "/dev/zero": "unreadable"}
    assert [problem.message for problem in found.problems] == ["is not a regular file"] * 2


def test_a_configuration_that_names_a_device_ends_with_an_error(folder: Path) -> None:
    (folder / "pilotage.yml").write_text("providers:\n  files: /dev/zero\n")
    (problem,) = check_files(["pilotage.yml"], {}).problems
    assert (problem.file, problem.message) == ("/dev/zero", "is not a regular file")


def test_a_list_of_middlewares_is_recognized(folder: Path) -> None:
    assert said(folder, "lan:\n  - use: CIDRWhitelist\n    allow: [10.0.0.0/8]\n", "middlewares.yml") == []
    text = "lan:\n  - use: CIDRWhitelist\n    allow: [10.0.0.0/8]\n    statsu: 404\n  - use: oidcc\n"
    (problem,) = said(folder, text, "middlewares.yml")
    assert problem.startswith("middlewares.yml:5")
    (problem,) = said(folder, text.replace("  - use: oidcc\n", ""), "middlewares.yml")
    assert problem == "middlewares.yml: middlewares.lan@file: unknown option 'statsu'; did you mean 'status'?"


def test_a_route_file_is_checked_for_what_the_gateway_supports(folder: Path) -> None:
    text = "shop:\n  host: 10.0.0.5\n  middlewares:\n    request:\n      set_headers: 5\n"
    (problem,) = said(folder, text, "routes.yml")
    assert problem.startswith("routes.yml:5:7: route shop: middlewares.request.set_headers: expected lines such as")


def test_a_configuration_among_the_files_decides_what_the_gateway_supports(folder: Path) -> None:
    realip = "{real_ip: {header: X-Forwarded-For, from: [10.0.0.0/8]}}"
    (folder / "compose.yml").write_text(labels(f"proxy.web.middlewares: '{realip}'"))
    (folder / "pilotage.yml").write_text("gateway: {trusted_proxies: [10.0.0.0/8]}\n")
    assert "gateway.trusted_proxies" in str(check_files(["compose.yml"], {}).problems)
    assert check_files(["compose.yml", "pilotage.yml"], {}).problems == ()
