"""Implements the xDS control plane: builds the configuration of each Envoy and delivers it over streams.

Its inputs are a route table and the gateway's settings. Its outputs are Envoy resources, Envoy's bootstrap and problems
with routes. This package must not read labels, contact engines, start processes, or know the daemon and its
configuration files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.xds.agent import Agent, Tunnel, host_of
    from pilotage.xds.backend import RESTART_HOLD, Backend, Member
    from pilotage.xds.body_filter import ASSETS
    from pilotage.xds.bootstrap import build_bootstrap
    from pilotage.xds.bypass import read_bypass
    from pilotage.xds.capabilities import GatewayCapabilities
    from pilotage.xds.captcha import (
        CAPTCHA_HEADER,
        CAPTCHA_PATH,
        Captcha,
        CaptchaService,
        captcha_audience,
        url_problem,
    )
    from pilotage.xds.checks import ROUTE, SERVICE, denial
    from pilotage.xds.client_authorities import read_profile
    from pilotage.xds.client_profiles import ClientProfile
    from pilotage.xds.cloudflare import CLOUDFLARE, CLOUDFLARE_LISTS, read_networks, with_networks
    from pilotage.xds.cluster_names import epoch_cluster, gate_of, pool_gate
    from pilotage.xds.clusters import GRPC_SUFFIX, NO_ENDPOINT, PROBED, SHARED, is_probed
    from pilotage.xds.envoy_version import OLDEST_ENVOY
    from pilotage.xds.failures import Cause, Failure
    from pilotage.xds.filters import AUTH_TIMEOUT, FOUND
    from pilotage.xds.html_changes import VOID, HtmlChange, Selector
    from pilotage.xds.load_reports import LoadReports, Report
    from pilotage.xds.login import (
        BOTH,
        CALLBACK_PATH,
        CAPTCHA,
        CAPTCHA_COOKIE,
        IDENTITY_HEADERS,
        LOGOUT_PATH,
        OIDC,
        SECURE_CAPTCHA_COOKIE,
        SECURE_COOKIE,
        SESSION_COOKIE,
        SESSION_ISSUER,
        options_of,
    )
    from pilotage.xds.middlewares import known_options, route_policy
    from pilotage.xds.options import CertificateFiles, GatewayOptions
    from pilotage.xds.overload import Limits, limits_for
    from pilotage.xds.own_ports import listening_address, port_of
    from pilotage.xds.resolver import look_up
    from pilotage.xds.resources import Key
    from pilotage.xds.route_stats import STATS
    from pilotage.xds.rule_checks import RULES
    from pilotage.xds.rule_files import read_rule_file
    from pilotage.xds.rule_outcomes import route_rules
    from pilotage.xds.rule_tests import RESULTS_HEADER, check_id
    from pilotage.xds.ruled_routes import rule_file_problems
    from pilotage.xds.secrets import read_certificates
    from pilotage.xds.served_certificates import CertificatePair, ServedCertificate
    from pilotage.xds.server import AdsServer
    from pilotage.xds.sleep_gates import Page
    from pilotage.xds.sleeping_routes import EVENTS_PATH, ROUTE_HEADER
    from pilotage.xds.table_problems import problems_of_table
    from pilotage.xds.target_guard import TargetGuard

__all__ = [
    "ASSETS",
    "AUTH_TIMEOUT",
    "BOTH",
    "CALLBACK_PATH",
    "CAPTCHA",
    "CAPTCHA_COOKIE",
    "CAPTCHA_HEADER",
    "CAPTCHA_PATH",
    "CLOUDFLARE",
    "CLOUDFLARE_LISTS",
    "EVENTS_PATH",
    "FOUND",
    "GRPC_SUFFIX",
    "IDENTITY_HEADERS",
    "LOGOUT_PATH",
    "NO_ENDPOINT",
    "OIDC",
    "OLDEST_ENVOY",
    "PROBED",
    "RESTART_HOLD",
    "RESULTS_HEADER",
    "ROUTE",
    "ROUTE_HEADER",
    "RULES",
    "SECURE_CAPTCHA_COOKIE",
    "SECURE_COOKIE",
    "SERVICE",
    "SESSION_COOKIE",
    "SESSION_ISSUER",
    "SHARED",
    "STATS",
    "VOID",
    "AdsServer",
    "Agent",
    "Backend",
    "Captcha",
    "CaptchaService",
    "Cause",
    "CertificateFiles",
    "CertificatePair",
    "ClientProfile",
    "Failure",
    "GatewayCapabilities",
    "GatewayOptions",
    "HtmlChange",
    "Key",
    "Limits",
    "LoadReports",
    "Member",
    "Page",
    "Report",
    "Selector",
    "ServedCertificate",
    "TargetGuard",
    "Tunnel",
    "build_bootstrap",
    "captcha_audience",
    "check_id",
    "denial",
    "epoch_cluster",
    "gate_of",
    "host_of",
    "is_probed",
    "known_options",
    "limits_for",
    "listening_address",
    "look_up",
    "options_of",
    "pool_gate",
    "port_of",
    "problems_of_table",
    "read_bypass",
    "read_certificates",
    "read_networks",
    "read_profile",
    "read_rule_file",
    "route_policy",
    "route_rules",
    "rule_file_problems",
    "url_problem",
    "with_networks",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ServedCertificate": "served_certificates",
        "CertificatePair": "served_certificates",
        "read_bypass": "bypass",
        "listening_address": "own_ports",
        "known_options": "middlewares",
        "port_of": "own_ports",
        "problems_of_table": "table_problems",
        "options_of": "login",
        "SESSION_ISSUER": "login",
        "SESSION_COOKIE": "login",
        "SECURE_COOKIE": "login",
        "OIDC": "login",
        "RESULTS_HEADER": "rule_tests",
        "RULES": "rule_checks",
        "read_rule_file": "rule_files",
        "rule_file_problems": "ruled_routes",
        "route_rules": "rule_outcomes",
        "check_id": "rule_tests",
        "LOGOUT_PATH": "login",
        "IDENTITY_HEADERS": "login",
        "CALLBACK_PATH": "login",
        "Tunnel": "agent",
        "ROUTE": "checks",
        "SERVICE": "checks",
        "denial": "checks",
        "look_up": "resolver",
        "host_of": "agent",
        "Agent": "agent",
        "Member": "backend",
        "CLOUDFLARE": "cloudflare",
        "HtmlChange": "html_changes",
        "Selector": "html_changes",
        "VOID": "html_changes",
        "route_policy": "middlewares",
        "epoch_cluster": "cluster_names",
        "gate_of": "cluster_names",
        "pool_gate": "cluster_names",
        "Report": "load_reports",
        "ROUTE_HEADER": "sleeping_routes",
        "Page": "sleep_gates",
        "EVENTS_PATH": "sleeping_routes",
        "AdsServer": "server",
        "Backend": "backend",
        "RESTART_HOLD": "backend",
        "CertificateFiles": "options",
        "ClientProfile": "client_profiles",
        "read_profile": "client_authorities",
        "GatewayOptions": "options",
        "Key": "resources",
        "Limits": "overload",
        "FOUND": "filters",
        "AUTH_TIMEOUT": "filters",
        "GRPC_SUFFIX": "clusters",
        "NO_ENDPOINT": "clusters",
        "LoadReports": "load_reports",
        "Cause": "failures",
        "Failure": "failures",
        "PROBED": "clusters",
        "TargetGuard": "target_guard",
        "SHARED": "clusters",
        "STATS": "route_stats",
        "GatewayCapabilities": "capabilities",
        "build_bootstrap": "bootstrap",
        "is_probed": "clusters",
        "limits_for": "overload",
        "OLDEST_ENVOY": "envoy_version",
        "read_certificates": "secrets",
        "ASSETS": "body_filter",
        "CAPTCHA": "login",
        "CAPTCHA_COOKIE": "login",
        "SECURE_CAPTCHA_COOKIE": "login",
        "BOTH": "login",
        "url_problem": "captcha",
        "captcha_audience": "captcha",
        "CAPTCHA_HEADER": "captcha",
        "CAPTCHA_PATH": "captcha",
        "Captcha": "captcha",
        "CaptchaService": "captcha",
        "CLOUDFLARE_LISTS": "cloudflare",
        "read_networks": "cloudflare",
        "with_networks": "cloudflare",
    },
)
