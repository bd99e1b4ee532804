from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.engine import list_splitter
from pilotage.engine.list_splitter import ElementTooLongError, ListSplitter, TooManyContainersError
from pilotage.engine.types import split_list

COMPACT = (",", ":")


def elements(number: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"Id": f"{n:064x}", "Labels": {"a": 'b},{"Id":'}, "Ports": [{"P": 1}, {"P": 2}], **more} for n in range(number)
    ]


def split(body: bytes, piece: int) -> list[bytes]:
    found: list[msgspec.Raw] = []
    splitter = ListSplitter(found.extend)
    for at in range(0, len(body), piece):
        splitter.feed(body[at : at + piece])
    splitter.finish()
    assert splitter.count == len(found)
    return [bytes(raw) for raw in found]


@pytest.mark.parametrize("separators", [COMPACT, (" , ", " : "), (",\n", ":")])
@pytest.mark.parametrize("nested", [{}, {"Inner": [{"Id": 1}, {"Id": 2}]}])
def test_the_elements_are_those_of_the_whole_list(
    monkeypatch: pytest.MonkeyPatch, separators: tuple[str, str], nested: dict[str, Any]
) -> None:
    body = json.dumps(elements(200, **nested), separators=separators).encode()
    whole = [bytes(raw) for raw in split_list(body)]
    for step in (1, 300, 5000):
        monkeypatch.setattr(list_splitter, "_STEP", step)
        assert split(body, 997) == whole
        assert split(body, len(body)) == whole


def test_elements_are_split_off_as_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_splitter, "_STEP", 300)
    body = json.dumps(elements(200), separators=COMPACT).encode()
    taken: list[msgspec.Raw] = []
    splitter = ListSplitter(taken.extend)
    for at in range(0, len(body), 997):
        splitter.feed(body[at : at + 997])
        assert len(splitter._rest) < 2_000
    assert len(taken) > 190


@given(st.lists(st.dictionaries(st.sampled_from(["Id", "x"]), st.text('},{"Id":a', max_size=9))), st.integers(1, 40))
def test_any_list_in_any_pieces_is_split_like_the_whole(found: list[dict[str, str]], piece: int) -> None:
    body = json.dumps(found, separators=COMPACT).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_splitter, "_STEP", 1)
        assert split(body, piece) == [bytes(raw) for raw in split_list(body)]


@pytest.mark.parametrize(
    "body", [b"", b"[", b"{}", b'[{"Id":1},{"Id":2}', b'[{"Id":1},{"Id":2},]', b'{"Id":1},{"Id":2}]']
)
def test_what_is_no_list_is_an_error(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(list_splitter, "_STEP", 1)
    with pytest.raises(msgspec.DecodeError):
        split(body, 3)


@pytest.mark.parametrize("element", [b"1", b"{}", b'{"Id":1}'])
def test_a_list_of_too_many_elements_is_an_error_before_it_ends(element: bytes) -> None:
    taken: list[msgspec.Raw] = []
    splitter = ListSplitter(taken.extend)
    splitter.feed(b"[")
    failed: Exception | None = None
    for _ in range(100_000):
        try:
            splitter.feed((element + b",") * 1000)
        except (TooManyContainersError, ElementTooLongError) as error:
            failed = error
            break
    assert failed is not None
    assert len(taken) <= 50_000
    assert len(splitter._rest) <= 9 * 2**20


def test_as_many_elements_as_are_allowed_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_splitter, "LIST_MAXIMUM", 200)
    body = json.dumps(elements(200), separators=COMPACT).encode()
    assert len(split(body, 1000)) == 200
    with pytest.raises(TooManyContainersError):
        split(json.dumps(elements(201)).encode(), 1000)


def test_an_element_may_have_four_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_splitter.ELEMENT_LIMIT == 4 * 2**20
    monkeypatch.setattr(list_splitter, "ELEMENT_LIMIT", 2**20)
    monkeypatch.setattr(list_splitter, "_STEP", 1)
    body = b'[{"Id":"' + b"x" * (2**20 - 8)
    ListSplitter(list).feed(body)
    with pytest.raises(ElementTooLongError) as caught:
        ListSplitter(list).feed(body + b"x")
    assert str(caught.value) == "a container takes more than 1 MiB in the engine's list"


def test_a_list_is_split_at_its_last_seam_once_an_eighth_of_a_megabyte_has_arrived() -> None:
    taken: list[msgspec.Raw] = []
    splitter = ListSplitter(taken.extend)
    body = b'[{"Id":1},{"Id":2},{"Id":3,"x":"'
    splitter.feed(body + b"x" * (2**17 - 1 - len(body)))
    assert (taken, splitter.count) == ([], 0)
    splitter.feed(b"x")
    assert ([bytes(raw) for raw in taken], splitter.count) == ([b'{"Id":1}', b'{"Id":2}'], 2)


def test_a_long_element_is_searched_for_a_seam_each_time_its_size_has_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    look = ListSplitter._last_seam

    def counted(splitter: ListSplitter) -> int:
        sizes.append(len(splitter._rest))
        return look(splitter)

    monkeypatch.setattr(ListSplitter, "_last_seam", counted)
    splitter = ListSplitter(list)
    for _ in range(2**10):
        splitter.feed(b"x" * 2**10)
    assert sizes == [2**17, 2**18, 2**19, 2**20]
