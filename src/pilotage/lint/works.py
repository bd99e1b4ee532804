"""Determines which labels work. Pure.

A label works if the check of ``pilotage serve`` accepts a sample of it, and a test shows its effect in requests through
a real Envoy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.containers import from_docker
from pilotage.engine.config import DockerProviderConfig
from pilotage.labels.keys import SHORTCUTS
from pilotage.lint.proved import PROVED
from pilotage.output.label_reference import entries
from pilotage.policy import Policy
from pilotage.routes.build import build_routes
from pilotage.routes.middlewares import MIDDLEWARES
from pilotage.routes.schema import UNSUPPORTED
from pilotage.xds.capabilities import GatewayCapabilities
from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.cloudflare import CLOUDFLARE
from pilotage.xds.middlewares import known_options
from pilotage.xds.options import CertificateFiles, GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.core.problems import Problem

__all__ = [
    "MIDDLEWARE_SAMPLES",
    "NO_EFFECT",
    "SAMPLES",
    "has_proof",
    "sample_labels",
    "sample_problems",
    "works_by_label",
]

_PREFIX: Final = "proxy.<alias>."
NO_EFFECT: Final[Mapping[str, str]] = {
    "alias": "the alias in the label's key is the route's name",
    "homepage.widget_config": "the dashboard has no widgets",
}
"""Fields that nothing reads -> the reason. They are harmless, so only ``alias`` is reported."""

SAMPLES: Final[Mapping[str, str]] = {
    "ssl_trusted_certificate": "/srv/ca.pem",
    "ssl_certificate": "/srv/client.pem",
    "ssl_certificate_key": "/srv/client.key",
    "rules": "path /admin { error 403 Forbidden }",
    "rule_file": "/srv/rules.yml",
    "homepage.url": "https://photos.example.com",
    "homepage.widget_config": "{provider: immich}",
    "access_log.filters": "{method: {values: [GET]}}",
    "access_log.filters.status_codes": "{values: [404]}",
    "access_log.filters.status_codes.values": "400-499",
    "access_log.filters.method": "{values: [GET]}",
    "access_log.filters.method.values": "GET",
    "access_log.filters.host": "{values: [shop]}",
    "access_log.filters.host.values": "shop",
    "access_log.filters.headers": "{values: [X-Debug]}",
    "access_log.filters.headers.values": "X-Debug",
    "access_log.filters.cidr": "{values: [10.0.0.0/8]}",
    "access_log.filters.cidr.values": "10.0.0.0/8",
    "access_log.fields": "{query: {default: drop}}",
    "access_log.fields.headers": "{default: keep}",
    "access_log.fields.headers.default": "keep",
    "access_log.fields.headers.config": "{X-Debug: keep}",
    "access_log.fields.query": "{default: drop}",
    "access_log.fields.query.config": "{token: redact}",
    "access_log.fields.cookies": "{default: keep}",
    "access_log.fields.cookies.default": "keep",
    "access_log.fields.cookies.config": "{session: redact}",
    "alias": "app",
}
"""Values for the fields whose documentation has no example, or one that sets the default."""

_NEEDED: Final[Mapping[str, Mapping[str, str]]] = {
    "access_log": {"access_log.stdout": "true"},
    "bind": {"scheme": "tcp", "port": "9000:80"},
    "load_balance": {"load_balance.link": "shop"},
    "load_balance.sticky_max_age": {"load_balance.sticky": "true"},
    "load_balance.options": {"load_balance.mode": "ip_hash"},
    "relay_proxy_protocol_header": {"scheme": "tcp", "port": "9000:80"},
    "tls_termination": {"scheme": "tcp", "port": "9000:80"},
    "root": {"scheme": "fileserver"},
    "spa": {"scheme": "fileserver", "root": "/srv/www"},
    "index": {"scheme": "fileserver", "root": "/srv/www"},
    "ssl_certificate": {"ssl_certificate_key": "/srv/client.key", "scheme": "https"},
    "ssl_certificate_key": {"ssl_certificate": "/srv/client.pem", "scheme": "https"},
}
"""Field -> the other fields that make it usable; also for the fields below it."""

MIDDLEWARE_SAMPLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(MIDDLEWARES.values(), "{}"),
    "cidr_whitelist": "{allow: [10.0.0.0/8]}",
    "forwardauth": "{route: auth}",
    "hcaptcha": "{site_key: site, secret_key: sample, session_expiry: 24h}",
    "oidc": "{issuer_url: 'https://login.example.com', client_id: app, client_secret: sample, allowed_users: [me]}",
    "rate_limit": "{average: 10, burst: 20, period: 1s}",
    "real_ip": "{header: X-Forwarded-For, from: [10.0.0.0/8]}",
    "request": "{set_headers: {X-Sample: a}}",
    "response": "{set_headers: {X-Sample: a}}",
    "modify_html": "{target: body, html: x}",
    "themed": "{theme: dark}",
    "crowdsec": "{route: crowdsec, api_key: sample}",
}
"""Middleware -> options that make it usable."""

_GATEWAY: Final = GatewayCapabilities.of_options(
    GatewayOptions(
        trusted_proxies=("10.0.0.0/8", *CLOUDFLARE),
        error_pages="/pages",
        https_port=443,
        certificates=(CertificateFiles("cert.pem", "key.pem"),),
        client_profiles=(ClientProfile("staff", ("/srv/clients.pem",)),),
    )
)


def works_by_label() -> dict[str, str]:
    """Return label, or ``middlewares.NAME`` -> ``yes``, or ``partly`` or ``no`` with a colon and the reason.

    For an option of a middleware (``middlewares.NAME.OPTION``), the answer is ``yes`` or ``no``.
    """
    found: dict[str, str] = {}
    for entry in entries():
        path = entry.label.removeprefix(_PREFIX)
        if path == entry.label:  # of a container, or a shortcut for a field
            found[entry.label] = "yes"
            continue
        value = SAMPLES.get(path) or entry.example.partition(": ")[2].strip('"')
        found[entry.label] = f"no: {NO_EFFECT[path]}" if path in NO_EFFECT else _answer(path, value)
    for label, answer in found.items():
        below = [other for key, other in found.items() if key.startswith(f"{label}.")]
        if answer == "yes" and any(other != "yes" for other in below):
            found[label] = "partly: see the fields below" if any(other == "yes" for other in below) else below[0]
    for shortcut, field in SHORTCUTS.items():
        found[f"proxy.{shortcut}"] = found.get(f"{_PREFIX}{field}") or f"no: {UNSUPPORTED[field][0]}"
    for name in sorted(set(MIDDLEWARES.values())):
        found[f"middlewares.{name}"] = _answer(f"middlewares.{name}", MIDDLEWARE_SAMPLES[name])
    answers = {
        label: answer if answer.startswith("no") or has_proof(label) else "no: no test shows its effect"
        for label, answer in found.items()
    }
    for name in set(MIDDLEWARES.values()):
        options = (f"middlewares.{name}.{option}" for option in known_options(name))
        answers |= {option: "yes" if option in PROVED else "no" for option in options}
    return answers


def has_proof(label: str, proved: frozenset[str] = PROVED) -> bool:
    """Return whether a test shows the effect of a label, of its field if it is a shortcut, or of a part of it."""
    path = label.removeprefix(_PREFIX).removeprefix("proxy.")
    if path != label and not label.startswith(_PREFIX):
        path = SHORTCUTS.get(path, path)
    return any(f"{it}.".startswith(f"{path}.") for it in proved)


def _answer(path: str, value: str) -> str:
    problems, is_served = sample_problems(path, value)
    about = [it for it in problems if f"{path}.".startswith(f"{it.path}.") or f"{it.path}.".startswith(f"{path}.")]
    if is_served and not about:
        return "yes"
    why = (about or problems)[0].message
    return f"no: {why}" if is_served or "not served" in why else f"no: {why}, so the route is not served"


def sample_labels(path: str, value: str) -> dict[str, str]:
    """Return the labels of a container that sets a field and the other fields that this field needs."""
    labels = {"proxy.aliases": "app"}
    for needed, others in _NEEDED.items():
        if f"{path}.".startswith(f"{needed}."):
            labels |= {f"proxy.app.{name}": text for name, text in others.items()}
    return labels | {f"proxy.app.{path}": value}


def sample_problems(
    path: str, value: str, *, gateway: GatewayCapabilities | None = _GATEWAY
) -> tuple[tuple[Problem, ...], bool]:
    """Return the problems of a route that sets a field, and whether the route is served.

    Args:
        path: the field, such as ``healthcheck.path``.
        value: the text of its label.
        gateway: decides what the gateway supports; ``None`` to find only errors in the sample itself.

    """
    summary = {
        "Id": "5" * 64,
        "Names": ["/app"],
        "State": "running",
        "Labels": sample_labels(path, value),
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "192.0.2.1"}}},
    }
    container = from_docker(summary, DockerProviderConfig("", name="sample"))
    folders = ("/srv", "/var/log")
    policy = Policy(label_files=folders, label_roots=folders, stream_ports=((1, 65535),), gateway=gateway)
    built = build_routes(container, policy=policy)
    return built.problems, not any(route.excluded for route in built.routes)
