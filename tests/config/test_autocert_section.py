from __future__ import annotations

import pytest
from pydantic import ValidationError

from pilotage.config.autocert_section import AutocertSection


def test_single_values_are_lists_and_options_are_texts() -> None:
    section = AutocertSection.model_validate(
        {"domains": "auto", "resolvers": "1.1.1.1:53", "options": {"ttl": 120, "sandbox": True, "token": "x"}}
    )
    assert (section.domains, section.resolvers) == (("auto",), ("1.1.1.1:53",))
    assert section.options == {"ttl": "120", "sandbox": "true", "token": "x"}


@pytest.mark.parametrize("wrong", [{"emial": "a"}, {"extra": [{"extra": []}]}, {"options": {"a": ["b"]}}])
def test_unknown_keys_and_other_forms_are_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AutocertSection.model_validate(wrong)
