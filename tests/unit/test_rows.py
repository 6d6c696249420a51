"""A view of columns is a sequence like any other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nulls_dist import rows
from nulls_dist.rows import Rows


class Squares(Rows[int]):
    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def span(self, begin, end):
        assert 0 <= begin <= end <= self.length
        return (place * place for place in range(begin, end))


@given(st.integers(0, 20), st.integers(1, 7), st.slices(20))
def test_rows_are_those_of_a_list(length, span, part):
    squares = [place * place for place in range(length)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_SPAN", span)
        assert list(Squares(length)) == squares
    assert Squares(length)[part] == squares[part]
    assert [Squares(length)[place] for place in range(-length, length)] == squares + squares
    for place in (length, -length - 1):
        with pytest.raises(IndexError):
            Squares(length)[place]
