"""How many examples property tests try: pytest's option ``--hypothesis-profile fast`` is for the inner loop."""

from __future__ import annotations

from hypothesis import settings

__all__ = ["more_examples"]

settings.register_profile("full", deadline=None, max_examples=100)
settings.register_profile("fast", deadline=None, max_examples=10)
settings.load_profile("full")


def more_examples(times: float) -> settings:
    """Return settings with so many times the examples of the profile in use."""
    assert settings.default is not None
    return settings(max_examples=round(times * settings.default.max_examples))
