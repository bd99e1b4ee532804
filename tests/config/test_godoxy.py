"""Which sections of GoDoxy's configuration could restrict access."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.config.godoxy import GODOXY_KEYS, may_restrict


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("acl", {"default": "deny"}, True),
        ("acl", {}, False),
        ("acl", None, False),
        ("entrypoint", {"Middle_Wares": [{"use": "oidc"}]}, True),
        ("entrypoint", {"access_log": {"path": "/log"}}, False),
        ("entrypoint", {"rules": []}, False),
        ("entrypoint", {"rules": [{"on": "path /"}]}, True),
    ],
)
def test_a_section_may_restrict_access_unless_it_says_nothing_about_it(key: str, value: Any, expected: bool) -> None:
    assert may_restrict(key, value) is expected


def test_keys_that_restrict_nothing_are_known() -> None:
    assert {"defaults", "homepage", "timeout_shutdown", "webui"} <= GODOXY_KEYS[()]
    assert GODOXY_KEYS["providers",] == {"include", "maxmind", "notification", "proxmox"}
