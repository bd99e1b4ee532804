"""Connects to Docker and Podman: addresses, contexts, transports (unix, TCP, TLS, ssh), requests, event streams.

Addresses and requests go in; responses as typed values, events and :class:`~pilotage.core.errors.EngineError` come out.
This package must not interpret labels or know what a route is. No other package may open a connection to an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.engine.address import LOCAL_SOCKET, Address, bracketed, is_local, parse_address, url_hostname
    from pilotage.engine.agents import (
        TUNNEL_PROTOCOL,
        AgentHealth,
        AgentInfo,
        distinct_name,
        is_agent_name,
        tunnel_header,
    )
    from pilotage.engine.archive import check_credentials, read_credentials
    from pilotage.engine.client import EngineClient
    from pilotage.engine.config import AGENT_SCHEME, DockerProviderConfig, TLSFiles, is_explicit_only
    from pilotage.engine.connection import Connection, Timeouts
    from pilotage.engine.contexts import (
        default_engine,
        list_contexts,
        local_sockets,
        resolve_context,
        resolved,
        unverified_warning,
    )
    from pilotage.engine.credentials import AGENT_NAME, Credentials, CredentialsError
    from pilotage.engine.dtls_client import DTLSClient
    from pilotage.engine.dtls_end import DTLSEnd, dtls_context
    from pilotage.engine.events import EventStream
    from pilotage.engine.http_response import EngineResponse
    from pilotage.engine.pool import Pool, clients, close_default_pool, new_client
    from pilotage.engine.shared_client import ClientRequest, Clients, SharedClient
    from pilotage.engine.singleflight import SingleFlight
    from pilotage.engine.sockets import failure_text, open_tcp
    from pilotage.engine.tls import TLSMaterial, agent_context
    from pilotage.engine.tls_end import TLSEnd
    from pilotage.engine.types import (
        DECODE_ERRORS,
        Actor,
        Endpoint,
        Event,
        Inspect,
        InspectConfig,
        InspectState,
        Mount,
        Port,
        PortBinding,
        Service,
        Summary,
        Task,
        Version,
    )
    from pilotage.engine.x509 import read_certificates

__all__ = [
    "AGENT_NAME",
    "AGENT_SCHEME",
    "DECODE_ERRORS",
    "LOCAL_SOCKET",
    "TUNNEL_PROTOCOL",
    "Actor",
    "Address",
    "AgentHealth",
    "AgentInfo",
    "ClientRequest",
    "Clients",
    "Connection",
    "Credentials",
    "CredentialsError",
    "DTLSClient",
    "DTLSEnd",
    "DockerProviderConfig",
    "Endpoint",
    "EngineClient",
    "EngineResponse",
    "Event",
    "EventStream",
    "Inspect",
    "InspectConfig",
    "InspectState",
    "Mount",
    "Pool",
    "Port",
    "PortBinding",
    "Service",
    "SharedClient",
    "SingleFlight",
    "Summary",
    "TLSEnd",
    "TLSFiles",
    "TLSMaterial",
    "Task",
    "Timeouts",
    "Version",
    "agent_context",
    "bracketed",
    "check_credentials",
    "clients",
    "close_default_pool",
    "default_engine",
    "distinct_name",
    "dtls_context",
    "failure_text",
    "is_agent_name",
    "is_explicit_only",
    "is_local",
    "list_contexts",
    "local_sockets",
    "new_client",
    "open_tcp",
    "parse_address",
    "read_certificates",
    "read_credentials",
    "resolve_context",
    "resolved",
    "tunnel_header",
    "unverified_warning",
    "url_hostname",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "DTLSClient": "dtls_client",
        "DTLSEnd": "dtls_end",
        "dtls_context": "dtls_end",
        "TLSEnd": "tls_end",
        "failure_text": "sockets",
        "TUNNEL_PROTOCOL": "agents",
        "tunnel_header": "agents",
        "agent_context": "tls",
        "open_tcp": "sockets",
        "TLSMaterial": "tls",
        "AGENT_SCHEME": "config",
        "AgentHealth": "agents",
        "check_credentials": "archive",
        "AGENT_NAME": "credentials",
        "CredentialsError": "credentials",
        "Credentials": "credentials",
        "read_credentials": "archive",
        "distinct_name": "agents",
        "is_agent_name": "agents",
        "AgentInfo": "agents",
        "SingleFlight": "singleflight",
        "InspectState": "types",
        "Actor": "types",
        "DECODE_ERRORS": "types",
        "Address": "address",
        "ClientRequest": "shared_client",
        "Clients": "shared_client",
        "Connection": "connection",
        "DockerProviderConfig": "config",
        "Endpoint": "types",
        "EngineClient": "client",
        "EngineResponse": "http_response",
        "Event": "types",
        "EventStream": "events",
        "Inspect": "types",
        "InspectConfig": "types",
        "LOCAL_SOCKET": "address",
        "Mount": "types",
        "Pool": "pool",
        "Port": "types",
        "PortBinding": "types",
        "Service": "types",
        "SharedClient": "shared_client",
        "Summary": "types",
        "TLSFiles": "config",
        "Task": "types",
        "Timeouts": "connection",
        "Version": "types",
        "bracketed": "address",
        "clients": "pool",
        "close_default_pool": "pool",
        "default_engine": "contexts",
        "is_explicit_only": "config",
        "is_local": "address",
        "list_contexts": "contexts",
        "local_sockets": "contexts",
        "new_client": "pool",
        "parse_address": "address",
        "read_certificates": "x509",
        "resolve_context": "contexts",
        "resolved": "contexts",
        "unverified_warning": "contexts",
        "url_hostname": "address",
    },
)
