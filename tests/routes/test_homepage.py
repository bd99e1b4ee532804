from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from pilotage.routes.homepage import HomepageJson, homepage_json
from pilotage.routes.schema import LoadBalance, RouteSettings
from tests.support.summaries import route


@pytest.mark.parametrize(
    ("alias", "name"),
    [("photo-album.example.com", "Photo Album"), ("my_nas", "My Nas"), ("*.example.com", "Example"), ("*", "*")],
)
def test_without_labels_a_route_is_shown_under_a_name_made_from_its_alias(alias: str, name: str) -> None:
    assert homepage_json(replace(route(), alias=alias)) == HomepageJson(name=name, category="Docker")


def test_labels_say_how_a_route_is_shown() -> None:
    labels = {"name": "Photos", "icon": "/logo.svg", "category": "Media", "desc": "Family", "favorite": "true"}
    shown = homepage_json(route({f"proxy.web.homepage.{name}": value for name, value in labels.items()}))
    assert shown == HomepageJson(name="Photos", icon="/logo.svg", category="Media", description="Family", favorite=True)
    assert not homepage_json(route({"proxy.web.homepage.show": "false"})).show


def test_secrets_are_not_shown() -> None:
    written = "name: https://me:secret@shop.internal/\nwidget_config: {password: secret}"
    shown = homepage_json(route({"proxy.web.homepage": written}))
    assert b"secret" not in msgspec.json.encode(shown)


def test_members_of_pools_and_routes_from_files_have_categories_of_their_own() -> None:
    pooled = replace(route(), settings=RouteSettings(load_balance=LoadBalance(link="shop")))
    assert homepage_json(pooled) == HomepageJson(name="Shop", category="Load-balanced")
    assert homepage_json(replace(route(), container="")).category == "Other"
