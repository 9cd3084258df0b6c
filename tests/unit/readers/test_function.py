import math

import pytest

from flowstone_provider.contracts.item_reader import Page
from flowstone_provider.errors import OptionsError, ReaderError
from flowstone_provider.readers.function import FunctionOptions, FunctionReader
from flowstone_provider.readers.resources import LocalResources
from flowstone_provider.readers.sequence import SequenceOptions, SequenceReader


def pages(checkpoint):
    for start in range(checkpoint or 0, 6, 2):
        yield [start, start + 1], start + 2


def read_two(start):
    return [start, start + 1], (start + 2 if start < 4 else None)


def test_by_name(read, monkeypatch):
    import types

    module = types.ModuleType("a_users_module")
    module.pages, module.read_two, module.begin = pages, read_two, lambda: 0
    monkeypatch.setitem(__import__("sys").modules, "a_users_module", module)
    expected = [0, 1, 2, 3, 4, 5]
    assert read(FunctionReader, function="a_users_module:pages") == expected
    assert read(FunctionReader, init="a_users_module:begin", read="a_users_module:read_two") == expected


def test_a_pair_that_ended_stays_ended():
    reader = FunctionReader(FunctionOptions(init=lambda: 0, read=read_two), LocalResources())
    last = list(reader.pages())[-1]
    assert list(reader.pages(last.checkpoint)) == []


def test_pages_keep_their_source():
    def one(_):
        yield Page([1], {"a": 1}, "the source")

    (page,) = FunctionReader(FunctionOptions(function=one), LocalResources()).pages()
    assert page == Page([1], {"taken": 1, "at": {"a": 1}}, "the source")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"function": pages, "read": read_two},
        {"function": pages, "init": list, "read": read_two},
        {"init": list},
    ],
)
def test_one_form_or_the_other(options):
    with pytest.raises(OptionsError, match="give either `function`, or both `init` and `read`"):
        FunctionOptions(**options)


@pytest.mark.parametrize("value", [7, "pages", "module:", ":pages"])
def test_no_function(value):
    with pytest.raises(OptionsError, match="is no function"):
        FunctionOptions(function=value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no_such_module:x", "No module named"),
        ("math:no_such_name", "no_such_name"),
        ("math:pi", "is no function"),
    ],
)
def test_names_that_lead_nowhere(read, name, problem):
    with pytest.raises(OptionsError, match=problem):
        read(FunctionReader, function=name)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (7, r"gave int 7 as a page; expected a tuple \(list of items, checkpoint\) or a Page"),
        ([1, 2], r"gave list \[1, 2\] as a page"),
        (([1], 1, 2), "gave tuple"),
        (("abc", 1), "page 1 of .* has str 'abc' for items; expected a list"),
        (([1], math), "page 1 of .* has a checkpoint that is no JSON"),
        (([1], None), "page 1 of .* has no checkpoint"),
        (Page({"a": 1}, {}), "has dict .* for items"),
    ],
)
def test_pages_of_a_wrong_shape(read, page, expected):
    with pytest.raises(ReaderError, match=expected):
        read(FunctionReader, function=lambda _: [page])


def test_no_generator(read):
    with pytest.raises(ReaderError, match="returned NoneType None; expected a generator of pages"):
        read(FunctionReader, function=lambda _: None)


def test_wrong_shape_of_a_pair(read):
    with pytest.raises(
        ReaderError, match=r"gave list \[1\] as a page; expected a tuple \(list of items, checkpoint\)$"
    ):
        read(FunctionReader, init=lambda: 0, read=lambda _: [1])


def test_close_ends_the_generator():
    ended = []

    def endless(_):
        try:
            while True:
                yield [1], 1
        finally:
            ended.append(True)

    reader = FunctionReader(FunctionOptions(function=endless), LocalResources())
    reading = reader.pages()
    next(reading)
    reader.close()
    assert ended == [True]


def test_sequence():
    assert SequenceReader(SequenceOptions(items=[]), LocalResources()).count() == 0
    assert SequenceReader(SequenceOptions(items=[1, 2, 3], max_items=2), LocalResources()).count() == 2
    with pytest.raises(OptionsError, match="needs the option 'items'"):
        SequenceOptions()
