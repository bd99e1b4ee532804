from __future__ import annotations

import pytest

from pilotage import build_routes
from pilotage.core.yaml import parse_yaml
from pilotage.recording.redact import (
    REMOVED,
    read_by_us,
    redact_label,
    redact_labels,
    without_passwords,
)
from tests.support.summaries import container


def test_only_labels_that_pilotage_reads_are_kept() -> None:
    labels = {
        "proxy.app.port": "80",
        "com.docker.compose.project": "shop",
        "com.docker.compose.config-hash": "abc",
        "traefik.http.middlewares.auth.basicauth.users": "me:hash",
        "maintainer": "somebody@example.com",
    }
    assert redact_labels(labels) == {"proxy.app.port": "80", "com.docker.compose.project": "shop"}


def test_a_misspelled_namespace_is_kept_because_it_causes_a_warning() -> None:
    assert read_by_us("prxy.app.port")
    assert not read_by_us("traefik.app.port")


def test_a_secret_in_a_label_of_its_own_is_removed() -> None:
    assert redact_label("proxy.app.middlewares.oidc.client_secret", "s3cret") == REMOVED


def test_the_file_name_of_a_key_is_not_a_secret() -> None:
    assert redact_label("proxy.app.ssl_certificate_key", "/certs/key.pem") == "/certs/key.pem"


def test_secrets_inside_yaml_are_removed_in_place() -> None:
    oidc = "  oidc:\n    client_secret: 's3cret'\n    issuer_url: https://id.example.com\n"
    text = f"port: 80\nmiddlewares:\n{oidc}  real_ip: {{}}\n"
    redacted = redact_label("proxy.app", text)
    assert redacted == text.replace("'s3cret'", REMOVED)
    assert parse_yaml(redacted) is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{oidc: {client_secret: s3cret, scopes: a}}", "{oidc: {client_secret: <removed>, scopes: a}}"),
        ("oidc:\n  client_secret: |\n    s3cret\n    more\n  x: 1", "oidc:\n  client_secret: <removed>\n  x: 1"),
        ("oidc:\n  tokens: [s3cret, other]", "oidc:\n  tokens: [<removed>, <removed>]"),
        ("oidc:\n  tokens:\n    a: s3cret", "oidc:\n  tokens:\n    a: <removed>"),
        (
            "themed: {theme: ünï}\noidc: {client_secret: s3cret}",
            "themed: {theme: ünï}\noidc: {client_secret: <removed>}",
        ),
        ("request:\n  set_headers:\n    X: Bearer s3cret", "request:\n  set_headers:\n    X: <removed>"),
    ],
)
def test_secrets_are_removed_wherever_yaml_puts_them(text: str, expected: str) -> None:
    assert redact_label("proxy.app.middlewares", text) == expected


def test_invalid_yaml_that_mentions_a_secret_is_removed_completely() -> None:
    assert redact_label("proxy.app", "client_secret: [s3cret\nport: 80") == REMOVED


def test_other_invalid_yaml_is_removed_too_because_a_secret_may_be_anywhere() -> None:
    assert redact_label("proxy.app", "port: [80") == REMOVED


def test_words_in_a_description_are_not_secrets() -> None:
    text = "homepage:\n  description: Basic shop\n"
    assert redact_label("proxy.app", text) == text


@pytest.mark.parametrize(
    ("label", "text", "expected"),
    [
        ("proxy.app.healthcheck.path", "/up?key=s3cret", "/up?key=<removed>"),
        ("proxy.app.healthcheck.path", "/up?a=s3cret,x&b[]=s3'cret&c&d=#end", "/up?a=<removed>&b[]=<removed>&c&d=#end"),
        (
            "proxy.app.healthcheck",
            '{path: "/up?key=s3,cret", interval: 5s}',
            '{path: "/up?key=<removed>", interval: 5s}',
        ),
        ("proxy.app", "healthcheck: {path: '/up?key=s3cret'}", "healthcheck: {path: '/up?key=<removed>'}"),
        (
            "proxy.app",
            "healthcheck:\n  path: /up?key=s3cret\n  x: 1",
            "healthcheck:\n  path: /up?key=<removed>\n  x: 1",
        ),
        ("proxy.app.rules", "- do: redirect /x?t=s3cret&u=s3cret", "- do: <removed>"),
        ("proxy.app.homepage.url", "https://h/x?y=s3cret", "https://h/x?y=<removed>"),
        ("proxy.app.homepage.description", "Why? a=b", "Why? a=b"),
    ],
)
def test_values_in_the_query_of_a_url_or_path_are_removed(label: str, text: str, expected: str) -> None:
    assert redact_label(label, text) == expected


def test_a_path_without_its_secrets_is_still_a_path() -> None:
    label = {"proxy.web.healthcheck.path": redact_label("proxy.web.healthcheck.path", "/up?key=s3cret")}
    (route,) = build_routes(container("web", label)).routes
    assert (route.problems, route.settings.healthcheck.path) == ((), "/up?key=<removed>")


def test_passwords_in_addresses_are_removed() -> None:
    assert without_passwords("tcp://me:s3cret@host:2375") == "tcp://<removed>@host:2375"
    assert redact_label("proxy.app.homepage.url", "https://me:s3cret@host/x") == "https://<removed>@host/x"
    assert without_passwords("ssh://me@host:22/x") == "ssh://me@host:22/x"
