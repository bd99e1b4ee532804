"""Defines the state of a case: how rules have changed its requests so far. Pure."""

from __future__ import annotations

import msgspec

from pilotage.xds.rule_tests import Changes, TestResult

__all__ = ["Elsewhere", "HeaderEdit", "Outcome", "ScriptEdit", "State"]


Elsewhere = tuple[str, str]
"""A command and its argument: ``route`` NAME, ``proxy`` URL, ``serve`` FOLDER or ``serve_file`` FILE."""


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


class ScriptEdit(msgspec.Struct, frozen=True):
    """A command for :mod:`pilotage.xds.rule_script`.

    Attributes:
        command: name of the command, such as ``set query`` or ``log``.
        name: name of what is changed; for ``set status``, the new status; for ``log``, the level and the stream.
        text: the value, with variables; ``""`` if there is none.

    """

    command: str
    name: str = ""
    text: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """The combined effect of the rules on a request.

    Attributes:
        request, response: changes to headers.
        rewrite: a prefix of the path, and what replaces it; ``None`` to keep the path.
        path: the whole new path; ``""`` to keep it.
        status: the status of the gateway's own response; 0 if the request goes to the target.
        body: the text of the gateway's own response, with variables.
        headers: headers of the gateway's own response, as literal text.
        sign_in: whether users have to sign in.
        elsewhere: where requests go instead of to the route's own target.
        before, after: commands for the script about the request and about the response.

    """

    request: tuple[HeaderEdit, ...] = ()
    response: tuple[HeaderEdit, ...] = ()
    rewrite: tuple[str, str] | None = None
    path: str = ""
    status: int = 0
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    sign_in: bool = False
    elsewhere: Elsewhere | None = None
    before: tuple[ScriptEdit, ...] = ()
    after: tuple[ScriptEdit, ...] = ()


class State(msgspec.Struct, frozen=True):
    """The state of a case's requests after some of the rules.

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
