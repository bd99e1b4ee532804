"""Defines what rules have done to the requests of a case so far. Pure."""

from __future__ import annotations

import msgspec

from pilotage.xds.rule_tests import Changes, TestResult

__all__ = ["HeaderEdit", "Outcome", "State"]


class HeaderEdit(msgspec.Struct, frozen=True):
    """A change to a header.

    Attributes:
        name: name of the header.
        values: values to set or add, with variables; empty to remove the header.
        keep: whether to keep the header's existing values.

    """

    name: str
    values: tuple[str, ...] = ()
    keep: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What the rules do with a request.

    Attributes:
        request, response: changes to headers.
        rewrite: a prefix of the path, and what replaces it; ``None`` to keep the path.
        path: the whole new path; ``""`` to keep it.
        status: the status of the gateway's own response; 0 if the request goes to the target.
        body: the text of that response, with variables.
        headers: headers of that response, as literal text.

    """

    request: tuple[HeaderEdit, ...] = ()
    response: tuple[HeaderEdit, ...] = ()
    rewrite: tuple[str, str] | None = None
    path: str = ""
    status: int = 0
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class State(msgspec.Struct, frozen=True):
    """What is known about the requests of a case after some of the rules.

    Attributes:
        known: results of tests.
        outcome: what the rules have done so far.
        changes: what the rules have changed in the request.
        matched: whether a rule other than the default one has matched.
        ended: whether a command has ended the rules.

    """

    known: tuple[TestResult, ...] = ()
    outcome: Outcome = Outcome()
    changes: Changes = Changes()
    matched: bool = False
    ended: bool = False
