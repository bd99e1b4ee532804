from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.containers.image import ContainerImage, parse_image

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("reference", "author", "name", "tag"),
    [
        ("nginx", "library", "nginx", "latest"),
        ("nginx:1.25-alpine", "library", "nginx", "1.25-alpine"),
        ("acme/app", "acme", "app", "latest"),
        ("ghcr.io/acme/team/app:v2", "ghcr.io/acme/team", "app", "v2"),
        ("registry.local:5000/acme/app:v3", "registry.local:5000/acme", "app", "v3"),
        ("localhost:5000/app", "localhost:5000", "app", "latest"),
        (f"nginx@{DIGEST}", "library", "nginx", ""),
        (f"ghcr.io/acme/app:v1@{DIGEST}", "ghcr.io/acme", "app", "v1"),
        (f"localhost:5000/app@{DIGEST}", "localhost:5000", "app", ""),
        ("sha256:0123", "library", "sha256", "0123"),
        ("", "library", "", "latest"),
    ],
)
def test_a_reference_is_read_as_the_oci_grammar_has_it(reference: str, author: str, name: str, tag: str) -> None:
    image = parse_image(reference)
    assert (image.author, image.name, image.tag) == (author, name, tag)


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("nginx", "library"),
        ("docker.io/library/nginx", "library"),
        ("docker.io/selenium/node", "selenium"),
        ("registry.local:5000/acme/team/app", "acme/team"),
        ("localhost/app", "library"),
        ("localhost:5000/app", "library"),
        ("acme/team/app", "acme/team"),
    ],
)
def test_the_path_is_the_author_without_the_registry_host(reference: str, path: str) -> None:
    assert parse_image(reference).path == path


def test_id_and_version_come_from_elsewhere() -> None:
    image = parse_image("nginx", "sha256:0123", "1.2.3")
    assert (image.sha256, image.version) == ("0123", "1.2.3")
    assert parse_image("nginx", "0123").sha256 == ""


@pytest.mark.parametrize(
    ("reference", "shown"),
    [("nginx", "nginx:latest"), ("acme/app:1", "acme/app:1"), (f"acme/app@{DIGEST}", "acme/app")],
)
def test_an_image_shows_as_people_write_it(reference: str, shown: str) -> None:
    assert str(parse_image(reference)) == shown


@given(st.text(), st.text())
def test_any_text_is_some_image(reference: str, image_id: str) -> None:
    image = parse_image(reference, image_id)
    assert image.author
    assert "/" not in image.name


def test_an_image_of_which_only_the_name_is_known_has_no_more_than_that() -> None:
    assert ContainerImage(name="nginx") == ContainerImage("library", "nginx", "latest", "", "")
