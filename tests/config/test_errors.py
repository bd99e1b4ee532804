"""What is said about each kind of finding, apart from where it stands."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from pilotage.config.errors import message_and_hint
from pilotage.config.validation import ERROR_TYPE


def _refuse(value: object) -> object:
    raise PydanticCustomError(
        ERROR_TYPE, "see the context", {"message": f"{value} {{is}} bad", "hint": "write {better}"}
    )


def _refuse_otherwise(value: object) -> object:
    raise ValueError("no such thing")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Inner(Section):
    file: str
    count: Annotated[int, Field(ge=1, le=9)] = 1
    size: Annotated[int, Field(ge=16)] | None = None
    rate: Annotated[int, Field(ge=3)] = 3
    share: Annotated[int, Field(le=5)] = 5


class Outer(Section):
    inner: Inner | None = None
    many: list[Inner] = []
    names: dict[str, str] = {}
    yes: bool = False
    short: Annotated[str, Field(max_length=3)] = ""
    colour: Literal["red", "green"] = "red"
    own: Annotated[str, BeforeValidator(_refuse)] = ""
    odd: Annotated[str, BeforeValidator(_refuse_otherwise)] = ""


def described(value: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    (details,) = caught.value.errors(include_url=False, include_context=True)
    return message_and_hint(details, Outer)


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ({"inner": {"file": "x", "fil": 1}}, "unknown key 'fil'", "did you mean 'file'?"),
        ({"many": [{"file": "x"}, {"file": "x", "cout": 1}]}, "unknown key 'cout'", "did you mean 'count'?"),
        ({"zebra": 1}, "unknown key 'zebra'", "the valid keys are colour, inner, many, names, odd, own, short, yes"),
        ({"colour": "gren"}, "'gren' is not a valid colour", "did you mean 'green'?"),
        ({"colour": "mauve"}, "'mauve' is not a valid colour", "use one of red, green"),
        ({"inner": {"file": "x", "count": 10}}, "count 10 is out of range", "write a number between 1 and 9"),
        ({"many": [{"file": "x", "count": 0}]}, "count 0 is out of range", "write a number between 1 and 9"),
        ({"inner": {"file": "x", "size": 15}}, "size 15 is out of range", "write a number of at least 16"),
        ({"inner": {"file": "x", "rate": 2}}, "rate 2 is out of range", "write a number of at least 3"),
        ({"inner": {"file": "x", "share": 6}}, "share 6 is out of range", "write a number of at most 5"),
        ({"inner": {"file": "x", "count": "two"}}, "count must be a whole number, not 'two'", ""),
        ({"inner": {"file": "x", "count": 1.5}}, "count must be a whole number, not a number", ""),
        ({"inner": {"file": "x", "count": []}}, "count must be a whole number, not a list", ""),
        ({"inner": {"file": None}}, "file must be text, not null", ""),
        ({"inner": {}}, "file is missing", "add it"),
        ({"inner": "x"}, "inner must be a mapping, not 'x'", ""),
        ({"many": {}}, "many must be a list, not a mapping", ""),
        ({"many": [7]}, "each of many must be a mapping, not a number", ""),
        ({"names": []}, "names must be a mapping, not a list", ""),
        ({"yes": "perhaps"}, "yes must be true or false, not 'perhaps'", ""),
        ({"short": "xxxx"}, "short has more than 3 characters", "shorten it"),
        ({"yes": []}, "yes must be true or false, not a list", ""),
        ({"yes": ""}, "yes must be true or false, not text", ""),
        ([], "the file must be a mapping, not a list", ""),
        ({"own": "{this}"}, "{this} {is} bad", "write {better}"),
        ({"odd": "x"}, "odd: Value error, no such thing", ""),
    ],
)
def test_each_finding_is_a_sentence_and_a_hint(value: object, message: str, hint: str) -> None:
    assert described(value) == (message, hint)


def test_what_is_quoted_is_short() -> None:
    message, _ = described({"colour": "x" * 1000})
    assert len(message) < 120
