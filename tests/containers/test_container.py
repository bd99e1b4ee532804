from __future__ import annotations

import pytest

from pilotage import Container
from tests.support.defaults import filled_by_default
from tests.support.summaries import ID, LOCAL, container


def test_the_repr_identifies_a_container() -> None:
    assert repr(container()) == f"<Container local/web {ID[:12]} acme/web:1.0 running>"


def test_its_provider_is_the_name_of_its_engine() -> None:
    assert container().provider == "local"


@pytest.mark.parametrize(
    ("status", "checked"),
    [("Up 3 hours", False), ("Up 3 hours (healthy)", True), ("Up 3 hours (Paused)", False), ("Up (unhealthy)", True)],
)
def test_the_engine_checks_its_health_if_the_status_says_so(status: str, checked: bool) -> None:
    assert container(Status=status).docker_health is checked


@pytest.mark.parametrize(("timeout", "idles"), [(None, False), ("0", False), ("5m", True)])
def test_it_idles_with_a_positive_timeout(timeout: str | None, idles: bool) -> None:
    assert container(labels={"proxy.idle_timeout": timeout} if timeout else {}).idles is idles


def test_it_exposes_the_ports_that_its_engine_lists() -> None:
    found = container(Ports=[{"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 70_000, "Type": "tcp"}])
    assert [port for port in (0, 79, 80, 81, 70_000) if found.exposes(port)] == [80]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        container().running = False  # type: ignore[misc]


def test_fields_are_empty_by_default_except_these() -> None:
    assert filled_by_default("containers") == {"ContainerImage.author": "library", "ContainerImage.tag": "latest"}


def test_its_labels_lack_only_the_options_of_the_container() -> None:
    labels = {"proxy.aliases": "a", "proxy.a.port": "80", "other": "x"}
    found = container(labels=labels)
    assert found.labels == {"proxy.a.port": "80", "other": "x"}
    assert found.actual_labels == labels
    assert container(labels={"other": "x"}).labels == {"other": "x"}
    assert Container(LOCAL, actual_labels=labels).labels == labels
