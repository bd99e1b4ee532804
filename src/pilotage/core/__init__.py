"""Provides shared helpers: errors, problems, parsers for values and YAML, suggestions, system functions.

Text, files and names go in; typed values, :class:`~pilotage.core.problems.Problem` values and exceptions come out.
This package imports no other package of pilotage and does not know what a container, a label or a route is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.core.addresses import is_address, is_ipv4
    from pilotage.core.budget import MAX_PROBLEMS, Budget, BudgetError, container_budget
    from pilotage.core.certificate_builder import key_usage, new_certificate
    from pilotage.core.errors import (
        ConfigError,
        EngineError,
        EngineIncompatible,
        EngineRefused,
        EngineUnreachable,
        GatewayError,
        PilotageError,
        first_exception,
    )
    from pilotage.core.filewatch import watch_files, watch_matching
    from pilotage.core.gc import gc_paused
    from pilotage.core.hostnames import ascii_host
    from pilotage.core.index import Index
    from pilotage.core.media_types import media_type
    from pilotage.core.pacing import pause_between_attempts
    from pilotage.core.problems import Problem, Severity
    from pilotage.core.secrets import (
        EVERYTHING,
        HEADER_NAMES,
        HIDDEN,
        SHOWN,
        UNSEEN,
        Visibility,
        clean,
        clean_value,
        fold,
        hidden_texts,
        holds_secret,
        redact,
        shown_name,
        shown_text,
        without,
    )
    from pilotage.core.sockets import bind_private, permissions, share_of_descriptors
    from pilotage.core.suggest import did_you_mean, edit_distance, nearest, suggestion_in
    from pilotage.core.tasks import run_until_failure
    from pilotage.core.tempdirs import MAX_SOCKET_PATH, lock_file, owned_tempdir, private_folder_of, socket_tempdir
    from pilotage.core.text import SEARCHED, count, escape, format_duration, safe_json, shorten, shorten_value
    from pilotage.core.textfile import UnreadableFile, read_text
    from pilotage.core.urlpaths import has_dot_segments
    from pilotage.core.values import FALSE, TRUE, ParseError, comma_list, go_bool, parse_duration
    from pilotage.core.yaml import Located, bare, beginning, kind_name, parse_yaml

__all__ = [
    "EVERYTHING",
    "FALSE",
    "HEADER_NAMES",
    "HIDDEN",
    "MAX_PROBLEMS",
    "MAX_SOCKET_PATH",
    "SEARCHED",
    "SHOWN",
    "TRUE",
    "UNSEEN",
    "Budget",
    "BudgetError",
    "ConfigError",
    "EngineError",
    "EngineIncompatible",
    "EngineRefused",
    "EngineUnreachable",
    "GatewayError",
    "Index",
    "Located",
    "ParseError",
    "PilotageError",
    "Problem",
    "Severity",
    "UnreadableFile",
    "Visibility",
    "ascii_host",
    "bare",
    "beginning",
    "bind_private",
    "clean",
    "clean_value",
    "comma_list",
    "container_budget",
    "count",
    "did_you_mean",
    "edit_distance",
    "escape",
    "first_exception",
    "fold",
    "format_duration",
    "gc_paused",
    "go_bool",
    "has_dot_segments",
    "hidden_texts",
    "holds_secret",
    "is_address",
    "is_ipv4",
    "key_usage",
    "kind_name",
    "lazy_exports",
    "lock_file",
    "media_type",
    "nearest",
    "new_certificate",
    "owned_tempdir",
    "parse_duration",
    "parse_yaml",
    "pause_between_attempts",
    "permissions",
    "private_folder_of",
    "read_text",
    "redact",
    "run_until_failure",
    "safe_json",
    "share_of_descriptors",
    "shorten",
    "shorten_value",
    "shown_name",
    "shown_text",
    "socket_tempdir",
    "suggestion_in",
    "watch_files",
    "watch_matching",
    "without",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Budget": "budget",
        "BudgetError": "budget",
        "ConfigError": "errors",
        "EVERYTHING": "secrets",
        "EngineError": "errors",
        "EngineIncompatible": "errors",
        "EngineRefused": "errors",
        "EngineUnreachable": "errors",
        "FALSE": "values",
        "GatewayError": "errors",
        "HEADER_NAMES": "secrets",
        "HIDDEN": "secrets",
        "Index": "index",
        "Located": "yaml",
        "MAX_PROBLEMS": "budget",
        "MAX_SOCKET_PATH": "tempdirs",
        "ParseError": "values",
        "PilotageError": "errors",
        "Problem": "problems",
        "SEARCHED": "text",
        "SHOWN": "secrets",
        "Severity": "problems",
        "TRUE": "values",
        "UNSEEN": "secrets",
        "UnreadableFile": "textfile",
        "Visibility": "secrets",
        "bare": "yaml",
        "beginning": "yaml",
        "clean": "secrets",
        "clean_value": "secrets",
        "comma_list": "values",
        "container_budget": "budget",
        "count": "text",
        "ascii_host": "hostnames",
        "did_you_mean": "suggest",
        "edit_distance": "suggest",
        "escape": "text",
        "first_exception": "errors",
        "fold": "secrets",
        "format_duration": "text",
        "gc_paused": "gc",
        "go_bool": "values",
        "has_dot_segments": "urlpaths",
        "hidden_texts": "secrets",
        "holds_secret": "secrets",
        "is_address": "addresses",
        "is_ipv4": "addresses",
        "key_usage": "certificate_builder",
        "new_certificate": "certificate_builder",
        "kind_name": "yaml",
        "nearest": "suggest",
        "suggestion_in": "suggest",
        "parse_duration": "values",
        "parse_yaml": "yaml",
        "pause_between_attempts": "pacing",
        "lock_file": "tempdirs",
        "owned_tempdir": "tempdirs",
        "private_folder_of": "tempdirs",
        "read_text": "textfile",
        "redact": "secrets",
        "run_until_failure": "tasks",
        "bind_private": "sockets",
        "permissions": "sockets",
        "share_of_descriptors": "sockets",
        "safe_json": "text",
        "shorten": "text",
        "shorten_value": "text",
        "shown_name": "secrets",
        "shown_text": "secrets",
        "socket_tempdir": "tempdirs",
        "watch_files": "filewatch",
        "watch_matching": "filewatch",
        "without": "secrets",
        "media_type": "media_types",
    },
)
