"""The checksum of a file in parts does not depend on how the file came."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstone_provider.hooks import _parts
from flowstone_provider.hooks._parts import PartsDigest, parts_of

DATA = random.Random(1).randbytes(10_000)


@pytest.fixture(autouse=True, scope="module")
def _small_parts():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_parts, "PART", 100)
        patch.setattr(_parts, "_GROWTH", 10)
        yield


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


@settings(max_examples=50, deadline=None)
@given(size=st.integers(0, len(DATA)), sizes=st.lists(st.integers(0, 3_000), max_size=6), seed=st.randoms())
def test_what_is_sent_in_parts_has_the_checksum_of_what_goes_through(size, sizes, seed):
    data = DATA[:size]
    sent, read = PartsDigest(), PartsDigest()
    parts = list(enumerate(parts_of(cut(data, sizes)), 1))
    seed.shuffle(parts)
    for number, part in parts:
        sent.add(number, part)
    assert b"".join(read.through(cut(data, sizes[::-1]))) == data
    assert str(sent) == str(read)
    assert read.bytes == size


def test_it_is_the_composite_checksum_of_s3():
    digest = PartsDigest()
    list(digest.through([DATA[:250]]))
    shas = b"".join(hashlib.sha256(part).digest() for part in (DATA[:100], DATA[100:200], DATA[200:250]))
    assert str(digest) == f"sha256-parts:{hashlib.sha256(shas).hexdigest()}"


def test_other_bytes_have_another_checksum():
    one, other = PartsDigest(), PartsDigest()
    list(one.through([DATA]))
    list(other.through([DATA[:5_000], b"?", DATA[5_001:]]))
    assert str(one) != str(other)


def test_parts_grow_so_that_ten_thousand_are_enough():
    *parts, last = parts_of([DATA])
    sent = 0
    for part in parts:
        assert len(part) == max(100, sent // 10)
        sent += len(part)
    assert sent + len(last) == len(DATA)
