"""Waiting ends with the first true answer, or fails by name."""

from __future__ import annotations

import itertools

import pytest

from tests.support.polling import until


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_the_first_true_answer_ends_it(asynchronous: bool) -> None:
    answers = itertools.chain([False, False, True], itertools.repeat(False))

    async def later() -> bool:
        return next(answers)

    await until(later if asynchronous else lambda: next(answers))
    assert next(answers) is False


async def test_what_never_comes_is_named() -> None:
    with pytest.raises(AssertionError, match=r"the moon did not happen within 0\.05 s"):
        await until(lambda: False, within_s=0.05, what="the moon")
