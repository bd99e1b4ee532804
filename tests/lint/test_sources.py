"""The texts that are checked."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pilotage.core.errors import ConfigError
from pilotage.core.textfile import MAX_SIZE, UnreadableFile
from pilotage.lint.sources import STDIN, Sources

pytestmark = pytest.mark.usefixtures("folder")


def test_a_file_is_read_once() -> None:
    Path("a").write_text("one\r\ntwo\rthree\x0c\u2028four\n")
    sources = Sources()
    assert sources.text("a").startswith("one")
    Path("a").unlink()
    assert [sources.line("a", number) for number in range(7)] == ["", "one", "two", "three\x0c", "four", "", ""]
    assert sources.line("none", 1) == ""


@pytest.mark.parametrize(("content", "message"), [(b"\xff", "not UTF-8"), (b"a" * (MAX_SIZE + 9), "larger than 4 MiB")])
def test_standard_input_has_the_limits_of_a_file(content: bytes, message: str) -> None:
    sources = Sources(io.BytesIO(content))
    for _ in range(2):
        with pytest.raises(UnreadableFile, match=message):
            sources.text(STDIN)


def test_without_standard_input_its_name_is_that_of_a_file() -> None:
    Path(STDIN).write_text("a: 1")
    assert Sources().text(STDIN) == "a: 1"
    assert Sources(io.BytesIO(b"b: 2")).text(STDIN) == "b: 2"


def test_standard_input_that_cannot_be_read_is_reported() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(UnreadableFile, match="cannot be read: Input/output error"):
        Sources(Broken()).text(STDIN)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: [", "f:2:1: not valid YAML"),
        ("shop: {port: 1}", "f: this is not a Compose file; name a file that defines services"),
        ("", "f: this is not a Compose file"),
    ],
)
def test_what_is_not_a_compose_file_is_an_error(content: str, problem: str) -> None:
    Path("f").write_text(content)
    with pytest.raises(ConfigError) as caught:
        Sources().compose("f")
    assert problem in str(caught.value)
    with pytest.raises(ConfigError, match="none: "):
        Sources().compose("none")


def test_the_keys_of_a_compose_file_are_returned() -> None:
    Path("f").write_text("name: shop\nservices: {}\n")
    assert list(Sources().compose("f")) == ["name", "services"]
