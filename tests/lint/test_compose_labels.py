"""Where the labels of a service come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.compose_files import labels, said

pytestmark = pytest.mark.usefixtures("folder")


def test_variables_in_items_of_a_list_are_substituted_in_names_too() -> None:
    text = labels("- proxy.aliases=web,setup", "- proxy.$$1.port=80", "- proxy.${SETUP:-setup}.port=3000")
    assert said(text) == []
    (problem,) = said(labels("- proxy.${NAME}.port=3000"))
    assert "this label is not checked, because the variable NAME is not set" in problem


def test_variables_in_the_keys_of_a_mapping_are_not_substituted() -> None:
    assert any("$" in problem for problem in said(labels("proxy.${NAME}.prot: 3000"), NAME="web"))


def test_of_a_label_with_an_unset_variable_the_names_are_checked_and_a_line_says_so() -> None:
    alow = "proxy.web.middlewares.cidr_whitelist.alow"
    text = labels("proxy.web.prot: ${PORT}", f"{alow}: ${{LAN}}")
    assert [problem.partition(": web: ")[2].partition(";")[0] for problem in said(text)] == [
        "proxy.web.prot: only the name of this label is checked, because the variable PORT is not set",
        "proxy.web.prot: unknown field",
        f"{alow}: only the name of this label is checked, because the variable LAN is not set",
        f"{alow}: middlewares.cidr_whitelist: unknown option 'alow'",
    ]
    right = labels("proxy.web.port: ${PORT}", "proxy.web.middlewares.cidr_whitelist.allow: ${LAN}")
    assert [problem.partition(":")[0] for problem in said(right)] == ["warning", "warning"]


def test_an_item_that_is_a_mapping_is_reported_with_what_to_write() -> None:
    (problem,) = said(labels("- proxy.network: web"))
    assert problem == (
        "error: compose.yml:6:9: web: a label in a list must be key=value, not a mapping; write - proxy.network=web"
    )


def test_a_label_file_is_read_and_labels_override_it() -> None:
    Path("shop.labels").write_text("# labels\nproxy.web.prot=80\nproxy.web.port=many\n")
    text = labels("proxy.web.port: 80") + "    label_file: shop.labels\n"
    (problem,) = said(text)
    assert problem == "error: shop.labels:2:1: web: proxy.web.prot: unknown field; did you mean 'port'?"
    (missing,) = said(labels("proxy.web.port: 80") + "    label_file: [none]\n")
    assert "the label file 'none' cannot be read" in missing


@pytest.mark.parametrize("written", ["{proxy.web.port: 80}", "[proxy.web.port=80]"])
def test_labels_of_a_swarm_service_are_not_those_of_its_containers(written: str) -> None:
    (problem,) = said(labels("x: y") + f"    deploy:\n      labels: {written}\n")
    assert problem.startswith(
        "warning: compose.yml:8:7: web: proxy.web.port: labels under 'deploy' are those of a swarm"
    )
    assert said(labels("x: y") + "    deploy: {labels: {x: y}}\n") == []


@pytest.mark.parametrize("written", ["{proxy.web.prot: 80}", "[proxy.web.prot=80]"])
def test_labels_of_a_swarm_service_are_checked_too(written: str) -> None:
    note, wrong = said(labels("proxy.web.port: 80") + f"    deploy:\n      labels: {written}\n")
    assert note.startswith("warning: compose.yml:8:7: web: proxy.web.prot: labels under 'deploy' are those of a swarm")
    assert wrong.startswith("error: compose.yml:8:")
    assert wrong.endswith(": web: proxy.web.prot: unknown field; did you mean 'port'?")


def test_a_label_of_a_service_and_its_swarm_service_is_reported_where_it_is_wrong() -> None:
    (note,) = said(labels("proxy.web.port: 80") + "    deploy:\n      labels: {proxy.web.port: 81}\n")
    assert note.startswith("warning: ")
    (value, _) = said(labels("proxy.web.port: many") + "    deploy:\n      labels: {proxy.web.port: 81}\n")
    assert value.startswith("error: compose.yml:6:7: web: proxy.web.port: 'many' is not a port number")
