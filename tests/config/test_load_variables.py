"""Variables can be secrets, so no error shows what they contain."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotage.config.load import read_config
from pilotage.core.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "providers: {docker: {a: '${TOKEN}'}}",
        "providers: {docker: {a: 'tcp://user:${TOKEN}@host:x'}}",
        "providers: {docker: {a: {scheme: '${TOKEN}', host: h}}}",
        "providers: {docker: {a: {scheme: tls, host: 'x ${TOKEN}'}}}",
        "providers: {docker: {a: {url: 'https://h:1', tls: {ca_file: '${TOKEN}/ca.pem'}}}}",
        "gateway: {http: '${TOKEN}'}",
        "gateway: {hsts: '${TOKEN}'}",
        "gateway: {log_level: '${TOKEN}'}",
        "gateway: {retries: '${TOKEN}'}",
        "gateway: {trusted_proxies: ['10.0.0.0/${TOKEN}']}",
        "match_domains: ['${TOKEN} x']",
        "api: {token_file: '${TOKEN}'}",
        "debug: '${TOKEN}'",
    ],
)
def test_the_content_of_a_variable_stands_in_no_error(text: str) -> None:
    secret = "Zq7-canary-Xw9"
    with pytest.raises(ConfigError) as caught:
        read_config(text, file="f.yml", folder=Path("none"), env={"TOKEN": secret})
    for problem in caught.value.problems:
        shown = f"{problem} {problem.value}".lower()
        assert not any(secret[at : at + 6].lower() in shown for at in range(len(secret) - 5)), problem
