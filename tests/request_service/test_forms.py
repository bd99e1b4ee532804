from __future__ import annotations

import pytest

from pilotage.request_service.forms import read_form

URL = "application/x-www-form-urlencoded"


def parts(*texts: str, end: str = "--") -> bytes:
    return ("".join(f"--b\r\n{text}\r\n" for text in texts) + f"--b{end}").encode()


def field(name: str, value: str) -> str:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'


def test_fields_are_decoded_and_repeated_ones_kept() -> None:
    assert read_form(f"{URL}; charset=utf-8", b"a=x+y&a=%C3%A9&b=&c;d=1") == [
        ("a", "x y"),
        ("a", "é"),
        ("b", ""),
        ("c;d", "1"),
    ]


def test_files_of_a_multipart_form_are_left_out() -> None:
    file = 'Content-Disposition: form-data; name="f"; filename="x"\r\nContent-Type: text/plain\r\n\r\nfile'
    body = parts(field("a", "1\r\n2"), file, field("b c", ""), "X-Other: 1\r\n\r\nno name")
    assert read_form('Multipart/Form-Data; boundary="b"', b"before\r\n" + body) == [("a", "1\r\n2"), ("b c", "")]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=b", parts(field("a", "1"), end="")),
        ("multipart/form-data; boundary=b", b"a=1"),
        ("multipart/form-data; boundary=b", parts("a=1")),
        ("multipart/form-data; boundary=b", parts(f"X: {'x' * 9_000}\r\n\r\n")),
        ("multipart/form-data; boundary=b", parts(*[field("a", "")] * 1_001)),
        ("multipart/form-data", parts(field("a", "1"))),
        ("text/plain", b"a=1"),
        (URL, b"&".join([b"a=1"] * 1_001)),
    ],
)
def test_what_is_not_a_whole_form_is_an_error(kind: str, body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_form(kind, body)
