from __future__ import annotations

import pytest

from pilotage.xds.templates import FilledTemplate, address_samples, name_samples, template


def test_texts_are_replaced_wherever_they_occur() -> None:
    def message(name: str, address: str) -> bytes:
        return f"<{name}|{address}|{name}>".encode()

    made = template(message, name_samples(4), address_samples(9))
    assert made is not None
    assert made.fill(b"shop", b"10.0.0.77") == b"<shop|10.0.0.77|shop>"


def test_a_text_that_contains_a_sample_is_left_as_it_is() -> None:
    made = template(lambda name, address: f"{name} {address}".encode(), name_samples(7), address_samples(7))
    assert made is not None
    assert made.fill(b"1.1.1.1", b"9.9.9.9") == b"1.1.1.1 9.9.9.9"


def test_a_text_that_occurs_elsewhere_in_the_message_has_no_template() -> None:
    assert template(lambda name: b"q" + name.encode(), name_samples(1)) is None
    assert template(lambda name: b"-" + name.encode(), name_samples(1)) is not None


def test_a_message_that_depends_on_more_than_its_texts_has_no_template() -> None:
    assert template(lambda name: b"%d" % (name == "qj") + name.encode(), name_samples(2)) is None


@pytest.mark.parametrize("length", range(7, 16))
def test_samples_have_the_wanted_length(length: int) -> None:
    assert {len(text) for text in (*name_samples(length), *address_samples(length))} == {length}


def test_a_filled_template_is_the_message() -> None:
    made = template(lambda name, address: f"<{name}|{address}>".encode(), name_samples(6), address_samples(9))
    assert made is not None
    assert FilledTemplate(made, ("größe"[:4], "10.0.0.77")).body == "<größ|10.0.0.77>".encode()
