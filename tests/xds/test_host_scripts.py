from __future__ import annotations

import pytest

from pilotage.xds.host_scripts import FOLD_SCRIPT, PORT_SCRIPT, WILDCARD_SCRIPT
from pilotage.xds.own_ports import ADDRESS_HOST


@pytest.mark.parametrize("script", [FOLD_SCRIPT, PORT_SCRIPT, WILDCARD_SCRIPT])
def test_nothing_is_left_to_fill_in(script: str) -> None:
    assert not [word for word in ("ASKS", "SIGNS_IN", "SPARED", "LOGIN", "AUTH", "ANY", "HOST") if word in script]


def test_only_the_script_for_a_port_looks_up_addresses() -> None:
    assert [ADDRESS_HOST in script for script in (FOLD_SCRIPT, PORT_SCRIPT, WILDCARD_SCRIPT)] == [False, True, False]
