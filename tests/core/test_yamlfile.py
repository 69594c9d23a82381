"""YAML as it is read and written here: the scalars of JSON, and whatever is written is read back the same."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manyheads import yamlfile
from manyheads.errors import ManyheadsError
from manyheads.yamltext import NUMBER, YamlProblem, parse

WORDS = st.text(st.characters(exclude_categories=["C"]), max_size=8)
LIKE_NUMBERS = st.from_regex(NUMBER, fullmatch=True) | st.sampled_from(["1_000", "-Inf", ".nan", "0x1F", "TRUE", "~"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = WORDS | LIKE_NUMBERS
PLAIN = st.recursive(
    SCALARS | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)


@settings(max_examples=200, deadline=None)
@given(data=st.dictionaries(TEXTS, PLAIN, max_size=4))
def test_what_is_written_is_read_back(data: dict, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "data.yaml"
    yamlfile.write(path, data)
    again = yamlfile.read(path).data
    assert again == data
    assert repr(again) == repr(data)  # 1 is not 1.0, nor True


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_no_file_holds_a_number_that_is_not_finite(number: float, tmp_path: Path) -> None:
    with pytest.raises(ManyheadsError, match="not a finite number"):
        yamlfile.write(tmp_path / "data.yaml", {"a": [number]})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text", ["yes", "0o17", "010", "0x1F", "1_000", "2020-01-31", "12:30", "'1'", "tRuE", "|\n  1"]
)
def test_stays_text(text: str) -> None:
    assert isinstance(parse(f"a: {text}").data["a"], str)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-1", -1),
        ("1.5e5", 1.5e5),
        (".5", 0.5),
        ("1e-3", 1e-3),
        ("true", True),
        ("Null", None),
        ("", None),
        ("~", None),
    ],
)
def test_scalars_of_json(text: str, value: object) -> None:
    found = parse(f"a: {text}").data["a"]
    assert (found, type(found)) == (value, type(value))


def test_lines_of_keys_and_items() -> None:
    parsed = parse("a:\n  - 1\n  - b: 2\nc: {d: 3}\n")
    assert parsed.data == {"a": [1, {"b": 2}], "c": {"d": 3}}
    assert parsed.lines == {("a",): 1, ("a", 0): 2, ("a", 1): 3, ("a", 1, "b"): 3, ("c",): 4, ("c", "d"): 4}


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_data_or_a_problem_with_its_line(text: str) -> None:
    line = 1
    try:
        parse(text)
    except YamlProblem as problem:
        line = problem.line
    assert 1 <= line <= len(text.splitlines()) + 2
