from __future__ import annotations

import pytest

from pilotage.xds.client_profiles import NO_CLIENTS, ClientNames


@pytest.mark.parametrize(
    ("routes", "domains", "profiles"),
    [
        ([("staff", "p")], [], {"staff": "p", "staff.a.b": "p", "shop.a": "", "staffx": "", "x.staff": "", "": ""}),
        ([("staff", "p")], ["a.org"], {"staff": "p", "staff.a.org": "p", "staff.b.org": "", "a.org": ""}),
        ([("staff.a.org", "p"), ("staff", "q")], [], {"staff.a.org": "p", "staff.b.org": "q"}),
        ([("Staff.A.org", "p")], [], {"staff.a.org": "p"}),
        ([("*.a.org", "p")], [], {"x.a.org": "p", "a.org": "", "y.x.a.org": "", "xaa.org": ""}),
        ([("*", "p"), ("*.a.org", "q"), ("x", "r")], [], {"x.a.org": "r", "y.a.org": "q", "z": "p", "": "p"}),
        ([("st.ff", "p")], [], {"st.ff": "p", "stiff": ""}),
    ],
)
def test_a_name_has_the_profile_of_its_route(
    routes: list[tuple[str, str]], domains: list[str], profiles: dict[str, str]
) -> None:
    names = ClientNames.of_routes(routes, domains)
    assert names
    assert {name: names.find(name) if name else names.default for name in profiles} == profiles


def test_without_profiles_no_connection_asks() -> None:
    assert not NO_CLIENTS
    assert ClientNames.of_routes([], []) == NO_CLIENTS
