"""Page sizes."""

import pytest

from antrian.errors import AntrianError
from server.paging import page_size


def test_a_page_size_of_zero_means_the_default_and_a_larger_one_is_capped() -> None:
    assert [page_size(asked, 20, 100) for asked in (0, 1, 100, 101, 2**31 - 1)] == [20, 1, 100, 100, 100]


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(AntrianError, match="INVALID_FIELD page_size"):
        page_size(-1, 20, 100)
