"""The nearest right word."""

from __future__ import annotations

import pytest

from motorctl.near import near, nearest


@pytest.mark.parametrize(
    ("word", "found"),
    [("uniqe", "unique"), ("trans", "transactions"), ("", None), ("zzz", None), ("unique", "unique")],
)
def test_the_nearest_word(word: str, found: str | None) -> None:
    assert nearest(word, ["unique", "sparse", "transactions"]) == found


def test_the_hint() -> None:
    assert near("uniqe", ["unique"]) == "did you mean 'unique'?"
    assert near("zzz", ["unique"]) is None
