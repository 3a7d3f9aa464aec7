"""One document of plain values is read as PyYAML's safe loader reads it; anything else says its line."""

import datetime as dt

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.strict_yaml import parse
from chalicelib.domain.yaml_limits import DEFAULTS, BadYaml, YamlLimits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# a comment\n", None),
        ("---\n", None),
        ("a: 1\nb: [x, 2.5, true, null]\nc: {d: 'e'}", {"a": 1, "b": ["x", 2.5, True, None], "c": {"d": "e"}}),
        ("3.10", 3.1),
        ("'3.10'", "3.10"),
        ("! 3", 3),
        ("!!str 3", "3"),
        ("2026-01-02", dt.date(2026, 1, 2)),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}", {"a": {"k": 1, "l": 2}, "b": {"k": 3, "l": 2}}),
        ("x: &x {k: 1}\ny: &y {k: 2}\nb: {<<: [*x, *y]}", {"x": {"k": 1}, "y": {"k": 2}, "b": {"k": 1}}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_a_plain_document_is_its_value(text, value):
    assert parse(text) == value
    assert parse(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\na: 2", 2, "twice"),
        ("1: a\ntrue: b", 2, "twice"),
        ("--- 1\n--- 2", 2, "second document"),
        ("a: !mine 1", 1, "tag"),
        ("a: 1\nb: !!python/object/apply:os.system [id]", 2, "tag"),
        ("!!binary aGk=", 1, "tag"),
        ("!!set {a}", 1, "tag"),
        ("!!map x", 1, "tag"),
        ("=", 1, "tag"),
        ("<<", 1, "tag"),
        ("&a [*a]", 1, "holds itself"),
        ("*a", 1, "isn't defined"),
        ("[&a 1, &a 2]", 1, "twice"),
        ("? [1]\n: 2", 1, "a key is a list"),
        ("a: {<<: 3}", 1, "merges a mapping"),
        ("x: 0\na: 2026-99-99", 2, "no timestamp"),
        ("!!int x", 1, "no int"),
        ("!!bool maybe", 1, "no bool"),
        ("9" * 5000, 1, "no int"),
        ("a: [1", 1, "expected"),
        ("a: 1\n  b: 2", 2, "mapping values"),
        ("\x07", 0, "special characters"),
        ("[" * 100, 1, "deeper than 32"),
        ("- " * 1000, 1, "deeper than 32"),
        ("\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 29)]), 12, "more than"),
        ("[" + "1," * 20_000 + "]", 1, "more than 10000 values"),
        ("#" * 70_000, 0, "more than 65536"),
    ],
)
def test_anything_else_is_refused_with_its_line(text, line, problem):
    with pytest.raises(BadYaml, match=problem) as caught:
        parse(text)
    assert caught.value.line == line


def test_an_aliass_depth_counts_where_it_is_used():
    with pytest.raises(BadYaml, match="deeper than 3"):
        parse("a: &a [[1]]\nb: [*a]", YamlLimits(depth=4 - 1))
    assert parse("a: &a [[1]]\nb: [*a]", YamlLimits(depth=5)) == {"a": [[1]], "b": [[[1]]]}


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(BadYaml, match="UTF-8"):
        parse(b"a: \xff")


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_pyyaml_dumps_is_read_back(value):
    assert parse(yaml.safe_dump(value)) == value


@given(st.text(alphabet="ab:-[]{}&*!|>'\"\n #,?1.<=%~", max_size=60))
def test_any_text_is_a_value_that_pyyaml_agrees_with_or_refused(text):
    try:
        value = parse(text, DEFAULTS)
    except BadYaml:
        return
    assert repr(value) == repr(yaml.safe_load(text))
