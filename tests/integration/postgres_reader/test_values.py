"""The ``postgres`` reader against a real server: values and cursors of every type, queries, parameters."""

from __future__ import annotations

import base64
from contextlib import closing

import orjson
import psycopg
import pytest
from psycopg import sql

from flowstone_provider.errors import OptionsError
from flowstone_provider.readers import _postgres_pages
from flowstone_provider.scatter.items import encode_page
from tests.support.postgres import Drivers, items, reader

pytestmark = pytest.mark.postgres


@pytest.fixture(params=["psycopg", "psycopg2"])
def resources(request, url):
    return Drivers(url, request.param)


def value(resources, expression):
    """One value, as it stands in the ledger."""
    with closing(reader(resources, f"SELECT 1 AS id, {expression} AS value")) as it:
        ((line,),) = [encode_page(page, 0, None) for page in it.pages()]
    return orjson.loads(line)["item"]["value"]


# Types


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("NULL", None),
        ("TRUE", True),
        ("9223372036854775807", 9223372036854775807),
        ("0.1::float8", 0.1),
        ("1.5e300::float8", 1.5e300),
        ("3.4::float4", 3.4),
        ("'NaN'::float8", "NaN"),
        ("'-Infinity'::float8", "-Infinity"),
        ("12345678901234567890123456789012345.678", "12345678901234567890123456789012345.678"),
        ("1.00", "1.00"),
        ("'NaN'::numeric", "NaN"),
        ("'Infinity'::numeric", "Infinity"),
        ("'x'::char(3)", "x  "),
        (r"'a\b''c\"d'", "a\\b'c\\\"d"),
        ("E'\\x01\\x02\\x1f\\n\\r\\t\\u2028'", "\x01\x02\x1f\n\r\t\u2028"),
        ("'Grüße 🌍'", "Grüße 🌍"),
        ("DATE '2024-02-29'", "2024-02-29"),
        ("DATE 'infinity'", "infinity"),
        ("TIME '23:59:59.000001'", "23:59:59.000001"),
        ("TIMESTAMP '2024-02-29 12:00:00.123456'", "2024-02-29T12:00:00.123456"),
        ("TIMESTAMPTZ '2024-02-29 12:00:00.5+02'", "2024-02-29T10:00:00.5+00:00"),
        ("TIMESTAMPTZ '-infinity'", "-infinity"),
        ("INTERVAL '1 year 2 days 03:04:05.6'", "P1Y2DT3H4M5.6S"),
        ("gen_random_uuid()::text::uuid = NULL", None),
        ("'0189dc05-54c3-7000-8000-000000000001'::uuid", "0189dc05-54c3-7000-8000-000000000001"),
        (r"'\x00ff'::bytea", "AP8="),
        ("decode(repeat('ab', 100), 'hex')", base64.b64encode(b"\xab" * 100).decode()),
        ("''::bytea", ""),
        (r"ARRAY['\x00'::bytea, NULL, decode(repeat('00', 90), 'hex')]", ["AA==", None, "A" * 120]),
        ("'{}'::bytea[]", []),
        ("NULL::bytea[]", None),
        ("ARRAY[1, NULL, 3]", [1, None, 3]),
        ("ARRAY[[1], [2]]", [[1], [2]]),
        ("ARRAY[0.10, 'NaN', NULL]::numeric[]", ["0.10", "NaN", None]),
        ("ARRAY[[0.1], [0.2]]::numeric[]", [["0.1"], ["0.2"]]),
        ("""'{"a": [1, {"b": null}]}'::jsonb""", {"a": [1, {"b": None}]}),
        ("E'{\"a\":\\n [1,\\r\\n 2]}'::json", {"a": [1, 2]}),
        ("'null'::jsonb", None),
        ("int4range(1, 5)", "[1,5)"),
        ("numrange(0.10, NULL)", "[0.10,)"),
        ("'10.0.0.1/8'::inet", "10.0.0.1/8"),
        ("B'101'", "101"),
        ("'a fat cat'::tsvector", "'a' 'cat' 'fat'"),
        ("'<a>1</a>'::xml", "<a>1</a>"),
        ("point(1, 2)", "(1,2)"),
        ("'happy'::mood", "happy"),
        ("12.50::price", "12.50"),
        ("ARRAY[12.50::price]", ["12.50"]),
        ("ARRAY['happy'::mood]", ["happy"]),
        ("ROW('x', 1)::pair", {"name": "x", "n": 1}),
        ("'=r/postgres'::aclitem", "=r/postgres"),
    ],
)
def test_a_value_of_every_type(resources, types, expression, expected):
    assert value(resources, expression) == expected


@pytest.fixture(scope="module")
def types(url):
    with psycopg.connect(url) as connection:
        connection.execute(
            """
            CREATE TYPE mood AS ENUM ('sad', 'happy');
            CREATE DOMAIN amount AS numeric;
            CREATE DOMAIN price AS amount CHECK (value > 0);
            CREATE TYPE pair AS (name text, n int)
            """
        )


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int8", ["-9223372036854775808", "0", "9223372036854775807"]),
        ("numeric", ["'-Infinity'", "0.1", "0.10", "0.100", "12345678901234567890123.4", "'NaN'", "'NaN'"]),
        ("float8", ["'-Infinity'", "'-0'", "0", "0.1", "1e-300", "'Infinity'", "'NaN'"]),
        ("float4", ["0.1", "0.2", "3.4e38"]),
        ("text", ["''", "'a'", "'A'", "'b''c'", r"'d\e'", r"E'\n'", r"E'\x01,\x02'", "'%s'", "'ä'"]),
        ("char(3)", ["'a'", "'b'", "'a'"]),
        ("bytea", [r"'\x'", r"'\x00'", r"'\xff00'"]),
        ("bool", ["false", "true", "true"]),
        ("date", ["'-infinity'", "'0044-03-15 BC'", "'2024-02-29'", "'infinity'"]),
        ("timestamp", ["'2024-01-01'", "'2024-01-01 00:00:00.000001'"]),
        ("timestamptz", ["'2024-10-27 00:30+00'", "'2024-10-27 02:30+02'", "'2024-10-27 02:30+01'"]),
        ("timetz", ["'12:00+00'", "'13:00+01'", "'12:00+01'"]),
        ("interval", ["'1 day'", "'24 hours'", "'1 month'", "'30 days'", "'-1 second'"]),
        ("uuid", ["'00000000-0000-0000-0000-000000000001'", "'ffffffff-0000-0000-0000-000000000001'"]),
        ("mood", ["'happy'", "'sad'", "'happy'"]),
        ("price", ["1.0", "1.00", "2"]),
        ("bit(3)", ["B'101'", "B'001'"]),
        ("int[]", ["'{1,2}'", "'{1}'", "'{NULL}'", "'{}'"]),
        ("jsonb", ["""'{"a": 1}'""", """'{"a": 1.0}'""", "'[]'", "'null'"]),
        ("inet", ["'10.0.0.1'", "'10.0.0.0/8'"]),
        ("numrange", ["'[1,2)'", "'[1.0,2)'", "'empty'"]),
        ("pair", ["ROW('a,b', 1)", "ROW(NULL, 2)"]),
        ('text COLLATE "C"', ["'b'", "'a'"]),
        ("text COLLATE nocase", ["'a'", "'A'", "'b'", "'B'", "'a'"]),
    ],
)
def test_a_cursor_of_every_type_that_can_be_ordered(resources, types, run, monkeypatch, kind, values):
    monkeypatch.setattr(_postgres_pages, "PAGE_ITEMS", 1)
    if "nocase" in kind:
        run("CREATE COLLATION IF NOT EXISTS nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    run(f"DROP TABLE IF EXISTS ordered; CREATE TABLE ordered (c {kind}, id serial)")
    run(f"INSERT INTO ordered (c) VALUES (NULL), {', '.join(f'({value})' for value in values)}, (NULL)")
    query = "SELECT * FROM ordered"
    whole = items(resources, query, "c")
    ranks = dict(run("SELECT id, rank() OVER (ORDER BY c) FROM ordered").fetchall())
    assert len(whole) == len(ranks)
    assert [ranks[item["id"]] for item in whole] == sorted(ranks.values())
    done = 0
    for page in reader(resources, query, "c").pages():
        done += len(page.items)
        assert items(resources, query, "c", after=page.checkpoint) == whole[done:]
    specs = reader(resources, query, "c").splits(4)
    assert [item for spec in specs for item in items(resources, **spec.options)] == whole


def test_numbers_in_json_and_in_composite_values_are_floats(resources, types):
    assert value(resources, "'[1.10, 12345678901234567890123]'::jsonb") == [1.1, 1.2345678901234567e22]
    assert value(resources, "(SELECT x FROM (SELECT 1.10 AS a) x)") == {"a": 1.1}


@pytest.mark.parametrize("name", ["Upper", 'a"b', "a%b", "a%(x)s", "ä b", "q", "r", "select", "{}"])
def test_column_names(resources, name):
    query = sql.SQL("SELECT n AS {} FROM generate_series(1, 3) n").format(sql.Identifier(name)).as_string()
    assert items(resources, query, name) == [{name: 1}, {name: 2}, {name: 3}]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS id;",
        "  SELECT 1 AS id ;\n ; ",
        "SELECT 1 AS id -- the end",
        "SELECT 1 AS id; -- the end;\n/* of it; */ ",
        "-- first\nSELECT 1 AS id",
        "WITH one AS (SELECT 1 AS id) SELECT * FROM one ORDER BY id LIMIT 5",
        "TABLE one",
    ],
)
def test_how_a_query_may_begin_and_end(resources, run, query):
    run("CREATE TABLE IF NOT EXISTS one AS SELECT 1 AS id")
    assert items(resources, query) == [{"id": 1}]


def test_a_text_that_looks_like_the_end_of_a_query(resources):
    assert items(resources, "SELECT 1 AS id, '; -- x' AS text") == [{"id": 1, "text": "; -- x"}]
    assert items(resources, "SELECT $$; /* x */$$ AS text, 1 AS id") == [{"id": 1, "text": "; /* x */"}]


@pytest.mark.parametrize(
    ("query", "parameters", "expected"),
    [
        ("SELECT 1 AS id, '100%' AS v", None, "100%"),
        ("SELECT 1 AS id, '%(a)s' AS v", None, "%(a)s"),
        ("SELECT 1 AS id, %s || '%%' AS v", ["it's 50"], "it's 50%"),
        ("SELECT 1 AS id, %(a)s::text AS v", {"a": "'; DROP TABLE x; --"}, "'; DROP TABLE x; --"),
        ("SELECT 1 AS id, %(a)s::text AS v", {"a": "back\\slash {} %s"}, "back\\slash {} %s"),
        ("SELECT 1 AS id, 2 = ANY(%(ids)s) AS v", {"ids": [1, 2]}, True),
        ("SELECT 1 AS id, %(a)s + %(a)s AS v", {"a": 1}, 2),
        ("SELECT 1 AS id, %s IS NULL AS v", [None], True),
    ],
)
def test_parameters(resources, query, parameters, expected):
    assert items(resources, query, parameters=parameters) == [{"id": 1, "v": expected}]


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("SELECT %s AS id", [1, 2]),
        ("SELECT %(a)s AS id", {"b": 1}),
        ("SELECT %(a)s AS id", [1]),
        ("SELECT 5 % 2 AS id, %s", [1]),
        ("SELECT %s AS id", [{"a": 1}]),
    ],
)
def test_parameters_that_do_not_fit(resources, query, parameters):
    with pytest.raises(OptionsError, match="parameters do not fit the query"):
        items(resources, query, parameters=parameters)
