from __future__ import annotations

from typing import Any

import pytest

from pilotage.routes.schema import LoadBalance
from pilotage.xds.balance_problems import balance_problems
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import route

BEHIND = GatewayOptions(trusted_proxies=("127.0.0.0/8",))


def _problems(options: GatewayOptions = BEHIND, /, scheme: str = "http", **balance: Any) -> list[tuple[str, str]]:
    found = balance_problems(route("a", 1, scheme=scheme, load_balance=LoadBalance(link="p", **balance)), options)
    assert all(problem.severity == "warning" for problem in found)
    return [(problem.path, problem.hint) for problem in found]


def test_settings_without_effect_are_reported() -> None:
    assert _problems(mode="least_con") == [("load_balance.mode", "did you mean 'least_conn'?")]
    assert _problems(mode="random")[0][1] == "write round_robin, least_conn or ip_hash"
    assert _problems(sticky_max_age=60.0) == [("load_balance.sticky_max_age", "remove it")]
    assert _problems(scheme="tcp", sticky=True) == [("load_balance.sticky", "write mode: ip_hash instead")]
    assert _problems(options={"header": "X-Real-IP"}) == [("load_balance.options", "remove them")]
    near = {"headr": "X-Real-IP", "from": "127.0.0.1"}
    assert _problems(mode="ip_hash", options=near) == [("load_balance.options", "did you mean 'header'?")]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"header": "X-Real-IP", "from": ["127.0.0.0/8"], "recursive": True}, None),
        ({"header": "CF-Connecting-IP", "from": "127.0.0.1, 127.0.0.2"}, None),
        ({"from": ["127.0.0.1/32"]}, None),
        ({"header": "X-Mine", "from": ["127.0.0.1/32"]}, "load_balance.options.header"),
        ({"header": 5, "from": ["127.0.0.1/32"]}, "load_balance.options.header"),
        ({"header": "X-Real-IP", "from": ["10.0.0.0/8"]}, "load_balance.options.from"),
        ({"header": "X-Real-IP", "from": ["nonsense"]}, "load_balance.options.from"),
        ({"header": "X-Real-IP"}, "load_balance.options.from"),
    ],
)
def test_a_header_names_the_client_only_if_no_client_can_forge_it(options: dict[str, Any], where: str | None) -> None:
    assert [path for path, _ in _problems(mode="ip_hash", options=options)] == ([where] if where else [])
