from __future__ import annotations

from pilotage.certificates.settings import Authority, AutocertSettings, Entry
from tests.support.certificates import DNS


def test_secrets_are_not_in_the_text_of_settings() -> None:
    authority = Authority(email="a@example.com", eab_kid="kid", eab_hmac="hmac-of-the-account")
    text = repr(AutocertSettings((Entry(authorities=(authority,), dns=DNS),)))
    assert "letsencrypt" in text
    assert "cloudflare" in text
    assert "secret-token" not in text
    assert "hmac-of-the-account" not in text
