"""Labels of Compose files, looked over without an engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pilotage.core.textfile import read_text
from pilotage.lint import compose
from pilotage.lint.check import check_file, check_files
from tests.support.compose_files import labels, said, service

pytestmark = pytest.mark.usefixtures("folder")


# ---- what the gateway does not support


def test_what_serve_refuses_is_reported_with_its_line() -> None:
    text = (
        "services:\n"
        + service("proxy.shop.middlewares.oidc.allowed_users: user1", name="shop")
        + service("proxy.blog.rules: |", "  path /admin { serve /srv }", name="blog")
        + service("proxy.db.scheme: tcp", "proxy.db.port: 3306", name="db")
    )
    oidc, rules, port = said(text)
    assert oidc.startswith(
        "error: compose.yml:6:7: shop: proxy.shop.middlewares.oidc.allowed_users: middlewares.oidc: missing: "
    )
    assert rules.startswith(
        "error: compose.yml:11:7: blog: proxy.blog.rules: a label may publish only a folder listed in"
    )
    assert port.startswith("error: compose.yml:18:7: db: proxy.db.port: a tcp route needs a port to listen on")


# ---- variables


def test_known_variables_are_substituted() -> None:
    text = labels("proxy.web.port: ${PORT}", "proxy.web.scheme: $SCHEME", "proxy.web.host: ${HOST:-nas}")
    assert said(text, PORT="80", SCHEME="http") == []
    (problem,) = said(text, PORT="80", SCHEME="ftps9")
    assert problem.startswith("error: compose.yml:7:7: web: proxy.web.scheme: '${SCHEME}' is not one of")


def test_an_env_file_beside_the_compose_file_is_read() -> None:
    Path(".env").write_text("# comment\nexport PORT='many'\nSCHEME=http # usual\n")
    text = labels("proxy.web.port: ${PORT}", "proxy.web.scheme: ${SCHEME}")
    (problem,) = said(text)
    assert "proxy.web.port: '${PORT}' is not a port number" in problem
    assert said(text, PORT="80") == []


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${P-80}", True),
        ("${P:-80}", True),
        ("${E:-80}", True),
        ("${F:+80}", True),
        ("${P:+80}", True),
        ("$$P", False),
    ],
)
def test_the_forms_of_compose_are_known(written: str, text: bool) -> None:
    assert (said(labels(f"proxy.web.port: '{written}'"), E="", F="1") == []) is text


# ---- other places of labels


@pytest.mark.parametrize("name", ["compose.override.yml", "docker-compose.override.yaml"])
def test_the_override_beside_a_file_is_merged_with_it(name: str) -> None:
    Path(name).write_text(
        "services:\n"
        + service("proxy.web.port: many", name="web")
        + service("proxy.more.prot: 80", name="more")
        + "include: [none.yml]\n"
    )
    value, more, missing = said(labels("proxy.web.port: 81", "proxy.web.host: nas"))
    assert value.startswith(f"error: {name}:6:7: web: proxy.web.port: 'many' is not a port number")
    assert more == f"error: {name}:11:7: more: proxy.more.prot: unknown field; did you mean 'port'?"
    assert missing.startswith(f"error: {name}:12:11: the included file 'none.yml' cannot be read")
    checked = check_files(["compose.yml", name], {})
    assert checked.files == {"compose.yml": "compose", name: "compose"}
    assert len(checked.problems) == 3


def test_an_override_can_correct_a_label() -> None:
    Path("compose.override.yml").write_text(labels("proxy.web.port: 81"))
    assert said(labels("proxy.web.port: many")) == []


def test_a_service_of_an_override_may_extend_one_of_the_file() -> None:
    Path("compose.override.yml").write_text("services:\n  more: {extends: web, labels: {proxy.web.scheme: ftps9}}\n")
    (problem,) = said("services: {web: {image: acme/web}}\n")
    assert problem.startswith("error: compose.override.yml:2:33: more: proxy.web.scheme: 'ftps9' is not one of")


def test_a_file_with_a_name_of_its_own_has_no_override() -> None:
    Path("compose.override.yml").write_text(labels("proxy.web.port: many"))
    Path("prod.yml").write_text(labels("proxy.web.port: 81"))
    assert check_file("prod.yml", {}).problems == ()


def test_an_override_that_cannot_be_read_is_reported() -> None:
    Path("compose.override.yml").write_text("services: [")
    (problem,) = said(labels("proxy.web.port: 81"))
    assert problem.startswith("error: compose.override.yml:")


def test_included_files_are_checked_and_may_include_each_other() -> None:
    Path("shop").mkdir()
    Path("shop/compose.yaml").write_text("include: [../compose.yml]\n" + labels("proxy.web.prot: 80"))
    Path("blog.yml").write_text(labels("proxy.web.prt: 80"))
    problems = said("include:\n  - shop/compose.yaml\n  - path: [blog.yml, none.yml]\n  - ${DIR}/x.yml\n")
    assert [problem.partition(" (")[0] for problem in problems] == [
        "error: compose.yml:3:22: the included file 'none.yml' cannot be read: No such file or directory",
        "warning: compose.yml:4:5: the included file '${DIR}/x.yml' is not checked; check a local copy of it",
        "error: shop/compose.yaml:7:7: web: proxy.web.prot: unknown field; did you mean 'port'?",
        "error: blog.yml:6:7: web: proxy.web.prt: unknown field; did you mean 'port'?",
    ]
    assert set(check_file("compose.yml", {}).files) == {"compose.yml", "shop/compose.yaml", "blog.yml"}


@pytest.mark.parametrize("name", ["a\\0b", "loop", "/dev/zero", "pipe", "."])
def test_names_that_are_no_files_are_reported(name: str) -> None:
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    extends = f'{{image: x, label_file: "{name}", extends: {{file: "{name}", service: b}}}}'
    problems = said(f'include: ["{name}"]\nservices: {{a: {extends}}}\n')
    assert [problem.partition(" '")[0].rpartition(" the ")[2] for problem in problems] == [
        "included file",
        "label file",
        "extended file",
    ]


def test_a_file_is_read_once_for_all_services_that_extend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("base.yml").write_text("services: {base: {image: x}}")
    read: list[str] = []

    def reading(path: Path) -> str:
        read.append(str(path))
        return read_text(path)

    monkeypatch.setattr(compose, "read_text", reading)
    extends = "{extends: {file: base.yml, service: base}}"
    assert said("services:\n" + "".join(f"  s{n}: {extends}\n" for n in range(9))) == []
    assert read.count("base.yml") == 1


def test_a_project_has_a_limited_number_of_files_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        Path(f"{number}.yml").write_text(service_with(f"s{number}", labels=3))
    monkeypatch.setattr(compose, "_MAX_FILES", 3)
    assert [it.rpartition("the ")[2] for it in said("include: [0.yml, 1.yml, 2.yml, 3.yml]")] == [
        "included file '3.yml' is one of more than 3 files; check fewer files at once"
    ]
    monkeypatch.setattr(compose, "_MAX_LABELS", 5)
    (problem,) = said("include: [0.yml, 1.yml, 2.yml]")
    assert "2.yml: s2: it is not checked, because the services before it have more than 5 labels" in problem


def service_with(name: str, *, labels: int) -> str:
    lines = "".join(f"      l{number}: x\n" for number in range(labels))
    return f"services:\n  {name}:\n    image: x\n    labels:\n{lines}"


# ---- labels that need words of their own


def test_settings_of_the_container_below_an_alias_are_named() -> None:
    first, second = said(labels("proxy.*.idle_timeout: 1h", "proxy.web.exclude: true"))
    assert "idle_timeout is a setting of the whole container; write proxy.idle_timeout" in first
    assert "exclude is a setting of the whole container; write proxy.exclude" in second


def test_labels_without_effect_are_warnings() -> None:
    assert [problem.partition(":")[0] for problem in said(labels("proxy.web.alias: shop", "Proxy.web.port: 80"))] == [
        "warning",
        "warning",
    ]


def test_a_word_of_other_proxies_leads_to_the_right_label() -> None:
    (problem,) = said(labels('proxy.disabled: "true"'))
    assert "did you mean 'proxy.exclude'?" in problem


def test_half_of_a_refused_port_is_not_in_force() -> None:
    refused, missing = said(labels("proxy.web.scheme: udp", "proxy.web.port: 20000:dns"))
    assert "'dns' in '20000:dns' is not a port number" in refused
    assert "a udp route needs a port to listen on, and its port is not valid" in missing


# ---- services that are made of several definitions


def test_a_service_has_the_labels_of_those_that_it_extends() -> None:
    Path("common.yml").write_text(labels("proxy.web.prot: 80", "proxy.web.port: many").replace("web:", "base:", 1))
    text = (
        "services:\n  one:\n    image: acme/one\n    extends: {file: common.yml, service: base}\n"
        "    labels: {proxy.web.port: '80'}\n  two:\n    extends: one\n"
    )
    assert said(text)[-1] == "error: common.yml:6:7: one: proxy.web.prot: unknown field; did you mean 'port'?"
    assert sum("proxy.web.prot" in problem for problem in said(text)) == 1  # once for both services
    assert not any("many" in problem for problem in said(text))
    assert set(check_file("compose.yml", {}).files) == {"compose.yml", "common.yml"}


def test_what_cannot_be_extended_is_reported() -> None:
    (missing,) = said("services: {one: {image: x, extends: {file: none.yml, service: base}}}\n")
    assert "the extended file 'none.yml' cannot be read" in missing
    (unknown,) = said("services: {one: {image: x, extends: base}}\n")
    assert "there is no service 'base' to extend" in unknown
    assert said("services: {one: {image: x, extends: two}, two: {extends: one}}\n") == []


def test_services_with_different_profiles_may_have_the_same_name() -> None:
    def services(one: str, two: str) -> list[str]:
        return said(
            f"services:\n  one: {{image: x, labels: {{proxy.aliases: app}}, profiles: {one}}}\n"
            f"  two: {{image: x, labels: {{proxy.aliases: app}}, profiles: {two}}}\n"
        )

    assert services("[gpu]", "[cpu]") == []
    assert "also uses the alias 'app'" in services("[gpu, all]", "[all]")[0]
    assert "also uses the alias 'app'" in services("[gpu]", "[]")[0]


# ---- variables in other places


def test_a_whole_item_of_a_list_may_be_a_variable() -> None:
    text = labels('- "${LABEL}"', '- "proxy.web.${REST:-port=80}"')
    assert said(text, LABEL="proxy.web.scheme=http") == []
    (problem,) = said(text, LABEL="proxy.web.prot=80")
    assert "proxy.web.prot: unknown field" in problem
    assert "because the variable LABEL is not set" in said(text)[0]


def test_a_container_name_with_a_variable_is_the_alias() -> None:
    text = "services:\n  web:\n    image: x\n    container_name: ${STACK}-web\n"
    assert said(text, STACK="shop") == []
    assert said(text) == []


def test_an_included_file_has_variables_of_its_own() -> None:
    Path("shop").mkdir()
    Path("shop/.env").write_text("PORT=80\nOTHER=1\n")
    Path("other.env").write_text("PORT=many\n")
    Path("shop/compose.yaml").write_text(labels("proxy.web.port: ${PORT}"))
    assert said("include: [shop/compose.yaml]\n") == []
    (problem,) = said("include:\n  - path: shop/compose.yaml\n    env_file: other.env\n")
    assert "'${PORT}' is not a port number" in problem
    assert len(said("include: [shop/compose.yaml]\n", PORT="many")) == 1
