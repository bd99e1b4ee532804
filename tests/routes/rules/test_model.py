from __future__ import annotations

from pilotage.routes.rules import Check, Pattern, RuleError, RuleSet


def test_rules_are_values_that_can_be_compared_and_hashed() -> None:
    check = Check("path", pattern=Pattern("exact", "/a"))
    assert hash(check) == hash(Check("path", pattern=Pattern("exact", "/a")))
    assert hash(RuleSet()) == hash(RuleSet())


def test_an_error_says_what_how_and_where() -> None:
    error = RuleError("what", "how", 3)
    assert (str(error), error.hint, error.line) == ("what", "how", 3)
