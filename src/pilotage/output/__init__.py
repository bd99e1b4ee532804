"""Produces the output of commands and the API: tables, explanations, changes, the banner, JSON, the label reference.

Views of engines, tables, updates and problems go in; text on an :class:`~pilotage.output.console.Out` or plain data
comes out. This package must not contact engines, decide anything about routes, or know the daemon, Envoy or the HTTP
API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.output.banner import Banner, print_banner
    from pilotage.output.changelog import ChangeFormatter, ChangeLine, describe_change, problem_line
    from pilotage.output.console import Out, clean, command_name, print_table
    from pilotage.output.corrections import LabelCorrection, correction_of
    from pilotage.output.engines import engine_json, print_engines
    from pilotage.output.explain import (
        ContainerExplanation,
        Explanation,
        FileExplanation,
        RouteExplanation,
        explain_name,
        known_names,
    )
    from pilotage.output.facts import Fact, Source
    from pilotage.output.json import (
        ContainerJson,
        ProblemJson,
        change_json,
        describe_container,
        describe_problem,
        document,
        problem_json,
        problem_properties,
        to_json,
    )
    from pilotage.output.json_schema import SCHEMAS
    from pilotage.output.label_reference import entries, markdown, matching
    from pilotage.output.pipe import Pipe
    from pilotage.output.policy import JudgedService, judge_service
    from pilotage.output.reports import github_commands, sarif_log
    from pilotage.output.status import RouteStatus, StatusState, describe_route
    from pilotage.output.text.containers import print_containers
    from pilotage.output.text.explanation import print_explanation
    from pilotage.output.text.labels import print_labels
    from pilotage.output.text.policy import print_services
    from pilotage.output.text.problems import print_problems
    from pilotage.output.text.routes import print_routes, summary
    from pilotage.output.urls import GatewayPorts, url_of
    from pilotage.output.view import View

__all__ = [
    "SCHEMAS",
    "Banner",
    "ChangeFormatter",
    "ChangeLine",
    "ContainerExplanation",
    "ContainerJson",
    "Explanation",
    "Fact",
    "FileExplanation",
    "GatewayPorts",
    "JudgedService",
    "LabelCorrection",
    "Out",
    "Pipe",
    "ProblemJson",
    "RouteExplanation",
    "RouteStatus",
    "Source",
    "StatusState",
    "View",
    "change_json",
    "clean",
    "command_name",
    "correction_of",
    "describe_change",
    "describe_container",
    "describe_problem",
    "describe_route",
    "document",
    "engine_json",
    "entries",
    "explain_name",
    "github_commands",
    "judge_service",
    "known_names",
    "markdown",
    "matching",
    "print_banner",
    "print_containers",
    "print_engines",
    "print_explanation",
    "print_labels",
    "print_problems",
    "print_routes",
    "print_services",
    "print_table",
    "problem_json",
    "problem_line",
    "problem_properties",
    "sarif_log",
    "summary",
    "to_json",
    "url_of",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "print_services": "text.policy",
        "judge_service": "policy",
        "JudgedService": "policy",
        "Banner": "banner",
        "ChangeFormatter": "changelog",
        "problem_line": "changelog",
        "ChangeLine": "changelog",
        "ContainerExplanation": "explain",
        "Explanation": "explain",
        "LabelCorrection": "corrections",
        "correction_of": "corrections",
        "Fact": "facts",
        "FileExplanation": "explain",
        "GatewayPorts": "urls",
        "Out": "console",
        "Pipe": "pipe",
        "RouteExplanation": "explain",
        "Source": "facts",
        "View": "view",
        "RouteStatus": "status",
        "StatusState": "status",
        "describe_change": "changelog",
        "describe_route": "status",
        "change_json": "json",
        "clean": "console",
        "command_name": "console",
        "print_table": "console",
        "ContainerJson": "json",
        "describe_container": "json",
        "describe_problem": "json",
        "document": "json",
        "engine_json": "engines",
        "explain_name": "explain",
        "known_names": "explain",
        "entries": "label_reference",
        "markdown": "label_reference",
        "matching": "label_reference",
        "print_banner": "banner",
        "print_containers": "text.containers",
        "print_engines": "engines",
        "print_explanation": "text.explanation",
        "print_labels": "text.labels",
        "print_problems": "text.problems",
        "print_routes": "text.routes",
        "ProblemJson": "json",
        "problem_json": "json",
        "problem_properties": "json",
        "summary": "text.routes",
        "to_json": "json",
        "url_of": "urls",
        "github_commands": "reports",
        "sarif_log": "reports",
        "SCHEMAS": "json_schema",
    },
)
