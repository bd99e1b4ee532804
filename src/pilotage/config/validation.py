"""Provides helpers for the validators of the sections of ``pilotage.yml``. Pure."""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import PydanticCustomError

__all__ = ["ERROR_TYPE", "config_error", "list_of_one"]

ERROR_TYPE: Final = "pilotage"
"""Type of the pydantic errors that carry their own message and hint."""


def config_error(message: str, hint: str) -> PydanticCustomError:
    """Return an error with a message and a hint for the user. Validators of pydantic models raise it."""
    # The message is passed in the context, because pydantic would treat braces in it as template fields.
    return PydanticCustomError(ERROR_TYPE, "see the context", {"message": message, "hint": hint})


def list_of_one(value: Any) -> Any:
    """Return a string or an integer as a list with one entry, and any other value unchanged."""
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value
