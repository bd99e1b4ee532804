"""Datagrams in a stream: how they are written, and how they are read however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.gateway.capsules import CapsuleReader, capsule

HEAD = b"GET /.well-known/masque/udp/target/1/ HTTP/1.1\r\nhost: x\r\n\r\n"
SIZES = (0, 1, 62, 63, 1400, 16_382, 16_383, 65_507)  # where the length takes another byte, and the largest
DATAGRAMS = [bytes([number]) * size for number, size in enumerate(SIZES)]
STREAM = HEAD + b"".join(map(capsule, DATAGRAMS))


@given(st.lists(st.integers(0, len(STREAM)), max_size=20).map(sorted))
def test_datagrams_are_read_however_the_stream_is_cut(cuts: list[int]) -> None:
    reader = CapsuleReader()
    found = []
    for begin, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True):
        found += reader.read(STREAM[begin:end])
    assert found == DATAGRAMS


def test_nothing_is_a_datagram_before_the_end_of_the_head() -> None:
    reader = CapsuleReader()
    assert reader.read(HEAD[:-1]) == []
    assert not reader.has_begun
    assert reader.read(HEAD[-1:] + capsule(b"a")) == [b"a"]
    assert reader.has_begun


@pytest.mark.parametrize("other", [b"\x03\x02xx", b"\x00\x02\x05x", b"\x00\x00"])
def test_other_capsules_are_skipped(other: bytes) -> None:
    """Those of another type, of another context, and without a context."""
    reader = CapsuleReader()
    assert reader.read(HEAD + other + capsule(b"a")) == [b"a"]


@pytest.mark.parametrize("stream", [bytes(20_000), HEAD + b"\x00\x80\x02\x00\x00"])
def test_what_is_too_large_is_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match="too l"):
        CapsuleReader().read(stream)
