from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.routes.fields import Path
from pilotage.routes.mappings import ListOf, StructKind
from pilotage.routes.paths import HOST_PATHS, named_paths
from pilotage.routes.schema import ROUTE, RouteSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.routes.fields import Kind


def kinds(kind: Kind) -> Iterator[Kind]:
    yield kind
    if isinstance(kind, StructKind):
        for field in kind.fields.values():
            yield from kinds(field.kind)
    elif isinstance(kind, ListOf):
        yield from kinds(kind.item)


def test_every_field_that_is_a_path_on_this_machine_is_asked_about() -> None:
    assert [".".join(names) for names in HOST_PATHS] == [
        "root",
        "ssl_trusted_certificate",
        "ssl_certificate",
        "ssl_certificate_key",
        "rule_file",
        "access_log.path",
    ]
    assert sum(isinstance(kind, Path) for kind in kinds(ROUTE)) == len(HOST_PATHS)  # none inside a list


def test_the_paths_that_settings_name_are_found() -> None:
    settings = RouteSettings(ssl_certificate="/a", rule_file="embed://x", root="www")
    assert list(named_paths(settings)) == [(("root",), "www"), (("ssl_certificate",), "/a")]
    assert list(named_paths(RouteSettings())) == []
