from __future__ import annotations

from pilotage.config.validation import ERROR_TYPE, config_error, list_of_one


def test_one_value_is_a_list() -> None:
    assert list_of_one("a") == ["a"]
    assert list_of_one(80) == [80]
    assert list_of_one(["a"]) == ["a"]
    assert list_of_one(True) is True


def test_an_error_keeps_its_own_words() -> None:
    error = config_error("{braces} stay", "write something else")
    assert error.type == ERROR_TYPE
    assert error.context == {"message": "{braces} stay", "hint": "write something else"}
