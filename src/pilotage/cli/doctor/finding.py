"""Defines the result of a check, and prints results as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from rich.text import Text

from pilotage.core.secrets import clean as without_secrets
from pilotage.core.text import count
from pilotage.output.console import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.output.console import Out

__all__ = ["Finding", "State", "finding_json", "print_findings", "summary"]

State = Literal["ok", "warning", "problem"]

_SIGNS: Final[dict[State, tuple[str, str]]] = {
    "ok": ("✓ ok", "green"),
    "warning": ("! warning", "yellow"),
    "problem": ("✗ problem", "red"),
}
_COLUMN: Final = 11  # where the text begins


class Finding(msgspec.Struct, frozen=True):
    """The result of one check.

    Attributes:
        check: what was checked, such as ``engine local`` or ``port 443``.
        state: ``problem`` if something cannot work; ``warning`` if something may not work.
        text: what was found, without a full stop.
        remedy: what to do, with the command if there is one; ``""`` if there is nothing to do.

    """

    check: str
    state: State
    text: str
    remedy: str = ""


def print_findings(out: Out, findings: Sequence[Finding]) -> None:
    """Print one line for each check, the remedy below it, and the number of problems and warnings."""
    for found in findings:
        sign, style = _SIGNS[found.state]
        line = Text(f"{sign:{_COLUMN}}", style=style).append(clean(found.check), style="not dim bold default")
        line.append(f": {clean(without_secrets(found.text))}", style="default")
        out.paragraph(line, hanging=_COLUMN)
        if found.remedy:
            out.paragraph(Text(f"→ {clean(without_secrets(found.remedy))}"), indent=_COLUMN, hanging=2)
    out.line(summary(findings))


def summary(findings: Sequence[Finding]) -> str:
    """Return the number of problems and warnings as text."""
    states = [found.state for found in findings]
    numbers = [count(states.count(state), state) for state in ("problem", "warning") if state in states]
    return ", ".join(numbers) or "no problems"


def finding_json(found: Finding) -> dict[str, Any]:
    """Return a finding as plain data for JSON."""
    data: dict[str, Any] = msgspec.to_builtins(found)
    return data | {"text": without_secrets(found.text), "remedy": without_secrets(found.remedy)}
