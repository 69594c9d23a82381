"""Foreign text and numbers as they are shown."""

from hypothesis import given
from hypothesis import strategies as st

from manyheads.filenames import file_name
from manyheads.report.page import MINUS, interval
from manyheads.report.text import number, plain
from manyheads.storage.evaluations import Interval


def test_terminal_sequences_are_dropped_and_markup_stays() -> None:
    assert plain("\x1b[31mred\x1b[0m \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x9b2J\rover [bold]v2[/] ä …\t\n") == (
        "red link2Jover [bold]v2[/] ä …\t\n"
    )


def test_numbers_keep_digits_that_tell() -> None:
    shown = [number(x) for x in (1e-6, -0.0, 0.0, -1e-9, 0.045, 0.1, -812.34, 12345.67)]
    assert shown == ["1e-06", "0.0", "0.0", "-1e-09", "0.045", "0.1", "-812.3", "12,345.7"]
    assert interval(Interval(1e-6, -0.0, 2e-6)).replace(MINUS, "-") == "1e-06 [0, 2e-06]"
    assert interval(Interval(5.0, -0.001, 9.0)) == "5.00 [0.00, 9.00]"


@given(st.text(alphabet="ab_/%.-", min_size=1, max_size=8), st.text(alphabet="ab_/%.-", min_size=1, max_size=8))
def test_different_names_have_different_files(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
    assert "/" not in file_name(one)
    assert file_name(one) not in (".", "..")


def test_names_as_files() -> None:
    assert file_name("dmc/walker-walk") == "dmc__walker-walk"
    assert file_name("a__b") == "a%5F%5Fb"
    assert file_name("left [v2]") == "left [v2]"
    assert file_name("..\\x:y\n") == "%2E.%5Cx%3Ay%0A"
