"""The text of partitions: round trip, no collision, safe everywhere."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flowstone_provider.contracts.partition import LONGEST_TEXT, canonical, decode, encode
from flowstone_provider.errors import PartitionError

ZONES = st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
DIMENSIONS = st.one_of(
    st.text(min_size=1, max_size=20),
    st.text("ab|~/.:2F", min_size=1, max_size=8),
    st.dates(),
    st.dates().map(str),
    st.datetimes(timezones=ZONES),
    st.datetimes(timezones=ZONES).map(datetime.isoformat),
    st.datetimes().map(datetime.isoformat),
)
PARTITIONS = DIMENSIONS | st.lists(DIMENSIONS, min_size=2, max_size=4).map(tuple)


def text_of(partition):
    try:
        return encode(partition)
    except PartitionError as error:
        assume("characters" not in str(error))
        assume("in no year from 1 to 9999" not in str(error))
        raise


@given(PARTITIONS)
def test_a_text_becomes_the_partition_again(partition):
    text = text_of(partition)
    assert decode(text) == canonical(partition)
    assert encode(decode(text)) == text


@given(PARTITIONS, PARTITIONS)
def test_two_partitions_have_one_text_only_if_they_are_the_same(one, two):
    assert (text_of(one) == text_of(two)) == (canonical(one) == canonical(two))


@given(PARTITIONS)
def test_a_text_is_a_safe_file_name_and_an_airflow_key(partition):
    text = text_of(partition)
    assert re.fullmatch(r"[A-Za-z0-9_:+~-][A-Za-z0-9._:+~|-]*", text)
    assert 0 < len(text) <= LONGEST_TEXT


@pytest.mark.parametrize(
    ("partition", "text"),
    [
        ("eu west/1", "eu~20west~2F1"),
        ("2026-01", "2026-01"),
        (date(2026, 1, 15), "2026-01-15"),
        ("2026-01-15", "2026-01-15"),
        ("2026-02-30", "2026-02-30"),
        (datetime(2026, 1, 15, 11, 30, tzinfo=timezone(timedelta(hours=2))), "2026-01-15T09:30:00"),
        ("2026-01-15T11:30:00+02:00", "2026-01-15T09:30:00"),
        ("2026-01-15 09:30:00.25Z", "2026-01-15T09:30:00.250000"),
        ("0001-01-01T00:00:00-14:00", "0001-01-01T14:00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59"),
        (("eu", date(2026, 1, 15)), "eu|2026-01-15"),
        (("a|b", "c"), "a~7Cb|c"),
        ("Grüße", "Gr~C3~BC~C3~9Fe"),
        ("..", "~2E."),
        ("~2F", "~7E2F"),
    ],
)
def test_the_text_of(partition, text):
    assert encode(partition) == text


def test_a_key_of_airflows_timetables_is_itself():
    for key in ("2026-01-15T00:00:00", "2026-01-15T07", "2026-01-15", "2026-01", "2026", "us|2026-01-15"):
        assert encode(decode(key)) == key


def test_a_pendulum_time_is_a_time():
    import pendulum  # Airflow brings it

    assert type(canonical(pendulum.datetime(2026, 1, 15, tz="Europe/Paris"))) is datetime


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (7, "of type int: it must be a text"),
        (None, "of type NoneType"),
        ("", "empty"),
        (("a", ""), "empty"),
        (("a",), "has 1 parts"),
        ((), "has 0 parts"),
        (("a", ("b", "c")), "of type tuple"),
        (datetime(2026, 1, 15), "without time zone"),
        ("x" * 251, "takes 251 characters"),
        ("ü" * 50, "takes 300 characters"),
        ("0001-01-01T00:00:00+14:00", "has a time that UTC has in no year from 1 to 9999"),
        (("eu", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))), "has in no year from 1 to 9999"),
    ],
)
def test_what_is_no_partition(wrong, why):
    with pytest.raises(PartitionError, match=re.escape(why)):
        encode(wrong)


@pytest.mark.parametrize("text", ["", "a b", "a|", "~2f", "~FF", "~41", ".a", "2026-01-15T00:00:00Z"])
def test_what_is_no_partitions_text(text):
    with pytest.raises(PartitionError):
        decode(text)
