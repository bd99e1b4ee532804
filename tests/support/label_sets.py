"""Random containers for comparing label pipelines: the same seed gives the same containers on every Python.

The generator does not import the code under test, so that recordings made with an older version stay comparable.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["containers", "label_set"]

OWN_ALIASES: Final = ("web", "app", "Web", "*", "#1", "#2", "$1", "#9", "#x", "other", "x-anchor", "web-old", "")
CONTAINER_OPTIONS: Final = (
    *("aliases", "exclude", "network", "idle_timeout", "wake_timeout", "stop_method", "stop_timeout", "stop_signal"),
    *("start_endpoint", "depends_on", "no_loading_page"),
)
SHORTCUTS: Final = ("ports", "schemes", "protocols", "hosts", "binds", "roots", "no_tls_verifies", "agents", "indexes")
FIELDS: Final = (
    *("scheme", "host", "port", "bind", "root", "spa", "index", "hold", "no_tls_verify", "response_header_timeout"),
    *("max_conns_per_host", "disable_compression", "ssl_server_name", "ssl_certificate", "ssl_certificate_key"),
    *("ssl_protocols", "inbound_mtls_profile", "rules", "rule_file", "healthcheck", "load_balance", "middlewares"),
    *("homepage", "access_log", "relay_proxy_protocol_header", "tls_termination", "HealthCheck", "loadBalance"),
    *("noTLSVerify", "midlewares", "bogus", "agent", "path_patterns", "idlewatcher", "pot", "Port"),
)
BELOW: Final = (
    *("path", "interval", "disable", "retries", "link", "weight", "sticky", "listening", "proxy", "name", "show"),
    *("cidr_whitelist", "cidr_whitelist.allow", "rate_limit.average", "rate_limit.period", "oidc", "stdout", "x"),
    *("request.set_headers", "filters.status_codes.values", "", "a.b.c"),
)
TEXTS: Final = (
    *("80", "8080:80", "65536", "-1", "443", "https", "tcp", "udp", "fileserver", "h2c", "0", "0s", "5s", "1h30m"),
    *("true", "yes", "false", "/up", "/srv/www", "10.0.0.0/8", "127.0.0.1", "0.0.0.0", "::1", "shop.lan", "null", "~"),
    *(".nan", "9e999", "", " ", "a, b", "web, app", "80, 81", "80,81,82", "tcp, http", "front", "shop_front", "pause"),
    *("SIGTERM", "db:service_healthy", "{path: /up, interval: 5}", "interval: 0", "{allow: [10.0.0.0/8]}", "- a"),
    *("a: [", "{cidr_whitelist: {allow: x}}", "[1, 2]", "&a {<<: *a}", "port: 80\nhost: x", "rules: {a: b}"),
    *("{port: {listening: 1, proxy: 2}}", "rate_limit: {average: 0, period: .inf}", "x: !!binary a", "{link: Pool}"),
    *("port: 81\nscheme: https\nhealthcheck:\n  path: /ok\n", "healthcheck: {disable: true}", "{disable: true}"),
    *("port: 80\nport: 81", "\tport: 80", "- name: default\n  on: x\n  do: y", "path / { pass }", "{stdout: true}"),
    *("middlewares:\n  redirect_http:\n  nonsense: {}\n", "{name: Photos, icon: '@selfhst/x.svg'}", "TLSv1.2, SSLv3"),
    "z" * 600,
)
SENSIBLE: Final = (
    ("proxy.web.port", "8080"),
    ("proxy.app.port", "2222:22"),
    ("proxy.#1.host", "10.1.2.3"),
    ("proxy.*.middlewares.cidr_whitelist.allow", "10.0.0.0/8"),
    ("proxy.web.middlewares", "{cidr_whitelist: {allow: [10.0.0.0/8]}, redirect_http: }"),
    ("proxy.*.middlewares", "rate_limit:\n  average: 10\n  burst: 5\n  period: 1s\n"),
    ("proxy.web.rules", "- name: default\n  do: pass\n"),
    ("proxy.web.bind", "127.0.0.1"),
    ("proxy.middlewares.cidr_whitelist", "{allow: [10.0.0.0/8]}"),
    ("proxy.web.ssl_protocols", "TLSv1.2, TLSv1.3"),
    ("proxy.*", "healthcheck: {interval: 10s, path: /ok}\nload_balance: {link: Shop, weight: 2}\n"),
    ("proxy.*.healthcheck", "disable: true"),
    ("proxy.idle_timeout", "30m"),
    ("proxy.exclude", "false"),
    ("proxy.exclude", "true"),
    ("proxy.network", "front"),
    ("proxy.web.scheme", "fileserver"),
    ("proxy.web.scheme", "tcp"),
    ("proxy.web.tls_termination", "true"),
    ("proxy.web.access_log.stdout", "true"),
)
FOREIGN: Final = (
    ("com.docker.compose.project", "shop"),
    ("com.docker.compose.service", "web"),
    ("com.docker.compose.oneoff", "True"),
    ("com.docker.compose.depends_on", "db:service_started:false"),
    ("org.opencontainers.image.version", "1.2"),
    ("traefik.enable", "true"),
    ("prxy.web.port", "80"),
    ("proxy", "x"),
    ("proxy-web.port", "80"),
    ("Proxy.web.port", "80"),
    ("maintainer", "somebody"),
)
IMAGES: Final = (
    "nginx",
    "acme/web:1.0",
    "postgres:17",
    "portainer-ce",
    "gitea/gitea:1.24",
    "moby/buildkit",
    "redis",
    "",
)
ALIAS_LISTS: Final = ("web, app", "web", "app web other", "Web,web", "*,b", "a,a,b", "x-a, b-old")
MOUNTS: Final = ("/data", "/var/lib/mysql", "/var/lib/postgresql/data")
NETWORK_MODES: Final = ("bridge", "bridge", "shop_front", "host", "container:abc", "")
STATUSES: Final = ("Up 3 hours", "Up 3 hours (healthy)", "Up 1 minute (health: starting)", "Up 2 days (unhealthy)")


def _label(rng: random.Random) -> tuple[str, str]:
    text = rng.choice(TEXTS)
    shape = rng.randrange(24)
    if shape < 8:
        return f"proxy.{rng.choice(OWN_ALIASES)}.{rng.choice(FIELDS)}", text
    if shape < 11:
        return f"proxy.{rng.choice(OWN_ALIASES)}.{rng.choice(FIELDS)}.{rng.choice(BELOW)}", text
    if shape < 13:
        return f"proxy.{rng.choice(OWN_ALIASES)}", text
    if shape < 15:
        return f"proxy.{rng.choice(CONTAINER_OPTIONS)}", text
    if shape < 16:
        return f"proxy.{rng.choice(SHORTCUTS)}", text
    if shape < 17:
        return f"proxy.{rng.choice(FIELDS)}", text
    if shape < 18:
        return f"proxy.{rng.choice(FIELDS)}.{rng.choice(BELOW)}", text
    return rng.choice(FOREIGN if shape < 20 else SENSIBLE)


def label_set(rng: random.Random) -> dict[str, str]:
    """Return up to eight labels, often with a list of aliases among them."""
    labels = dict(_label(rng) for _ in range(rng.randrange(9)))
    if rng.random() < 0.4:
        labels["proxy.aliases"] = rng.choice(ALIAS_LISTS)
    return labels


def _ports(rng: random.Random) -> list[dict[str, Any]]:
    found = []
    for _ in range(rng.randrange(4)):
        port: dict[str, Any] = {"PrivatePort": rng.choice((80, 443, 3000, 5432, 8080, 9443, 0)), "Type": "tcp"}
        if rng.random() < 0.4:
            port |= {"PublicPort": rng.choice((80, 8080, 49153, 70000)), "IP": rng.choice(("0.0.0.0", "::"))}
        if rng.random() < 0.2:
            port["Type"] = "udp"
        found.append(port)
    return found


def containers(seed: int, count: int) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield elements of ``GET /containers/json`` and whether the engine is a remote one."""
    rng = random.Random(seed)
    for number in range(count):
        networks = {
            name: {"IPAddress": rng.choice(("172.18.0.5", "172.18.0.6", "fd00::5", ""))}
            for name in rng.sample(("bridge", "shop_front", "front", "shop_default", "host"), rng.randrange(3))
        }
        yield (
            {
                "Id": f"{number:064x}",
                "Names": [f"/{rng.choice(('web', 'Shop', 'buildx_1', 'app-old', 'web', 'web'))}"],
                "Image": rng.choice(IMAGES),
                "ImageID": "sha256:0123",
                "Created": 1_700_000_000 + number,
                "State": rng.choice(("running", "running", "running", "exited", "paused", "created")),
                "Status": rng.choice(STATUSES),
                "Labels": label_set(rng),
                "Ports": _ports(rng),
                "NetworkSettings": {"Networks": networks},
                "HostConfig": {"NetworkMode": rng.choice(NETWORK_MODES)},
                "Mounts": [{"Destination": rng.choice(MOUNTS)}] if rng.random() < 0.1 else [],
            },
            rng.random() < 0.2,
        )
