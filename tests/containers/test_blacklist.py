from __future__ import annotations

import pytest

from pilotage import is_blacklisted
from pilotage.containers.blacklist import blacklist_reason
from tests.support.summaries import container


@pytest.mark.parametrize(
    "image",
    [
        "postgres",
        "postgres:17",
        "docker.io/library/redis:7",
        "registry.local:5000/bitnami/mysql",
        "selenium/hub",
        "docker.io/selenium/hub:4",
        "zenika/alpine-chrome",
        "gcr.io/zenika-hub/alpine-chrome",
        "eu.gcr.io/zenika-hub/alpine-chrome:1",
        "getwud/wud",
        "ghcr.io/getwud/wud:6",
        "containrrr/watchtower",
        "watchtower",
    ],
)
def test_backend_images_are_recognized_from_any_registry(image: str) -> None:
    found = container(Image=image)
    assert is_blacklisted(found)
    assert blacklist_reason(found) == f"image {found.image}"


@pytest.mark.parametrize("image", ["nginx", "acme/postgres-exporter", "selenium", "acme/wud", "zenika-hub/other", ""])
def test_other_images_are_not(image: str) -> None:
    assert not is_blacklisted(container(Image=image))


@pytest.mark.parametrize("at", [0, 1])
def test_every_mount_counts(at: int) -> None:
    mounts = [{"Type": "tmpfs", "Source": "", "Destination": "/run"}]
    mounts.insert(at, {"Type": "volume", "Source": "", "Destination": "/var/lib/mysql"})
    assert blacklist_reason(container(Mounts=mounts)) == "mount /var/lib/mysql"


def test_a_mount_that_only_begins_so_does_not_count() -> None:
    assert not is_blacklisted(container(Mounts=[{"Destination": "/var/lib/mysql-files"}]))


@pytest.mark.parametrize("port", [5432, 3306, 6379, 11211, 27017])
def test_ports_of_databases_count_inside_the_container(port: int) -> None:
    assert blacklist_reason(container(Ports=[{"PrivatePort": 80}, {"PrivatePort": port}])) == f"port {port}"
    assert not is_blacklisted(container(Ports=[{"PrivatePort": 80, "PublicPort": port}]))


def test_the_infra_container_of_a_pod_is_no_service() -> None:
    found = container("0da46d7ba45c-infra", Image="localhost/podman-pause:4.3.1-0")
    assert blacklist_reason(found) == "role as the infra container of a pod"


@pytest.mark.parametrize(
    "name",
    """postgres mysql mariadb redis memcached mongo rabbitmq couchdb neo4j telegraf
    elasticsearch meilisearch kibana solr watchtower""".split(),
)
def test_every_backend_image_of_the_rules_is_recognized(name: str) -> None:
    assert blacklist_reason(container(Image=f"acme/{name}:1")) == f"image acme/{name}:1"


@pytest.mark.parametrize("author", "selenium browserless zenika zabbix moby docker".split())
def test_every_backend_author_of_the_rules_is_recognized(author: str) -> None:
    assert blacklist_reason(container(Image=f"{author}/x:1")) == f"image {author}/x:1"


@pytest.mark.parametrize("mount", "postgresql/data mysql mongodb mariadb memcached rabbitmq".split())
def test_every_mount_of_the_rules_is_recognized(mount: str) -> None:
    found = container(Mounts=[{"Destination": f"/var/lib/{mount}"}])
    assert blacklist_reason(found) == f"mount /var/lib/{mount}"


def test_of_several_ports_the_lowest_is_the_reason() -> None:
    ports = [{"PrivatePort": port} for port in (27017, 3306, 5432)]
    assert blacklist_reason(container(Ports=ports)) == "port 3306"
