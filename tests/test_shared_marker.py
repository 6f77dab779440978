"""Tests that need ../shared carry the marker ``shared``, and no others do."""

from functools import cache

import pytest
from shared_data import calls_require_shared, require_shared, shared
from vqa_models import qwen3_tokenizer, real_qwen3_tokenizer

NAME = "no such data"


def directly() -> None:
    require_shared(NAME)


@cache
def through_another() -> None:
    directly()


def within_a_function_of_its_own() -> None:
    def inner() -> None:
        through_another()

    inner()


def with_a_stand_in() -> bool:
    return shared(NAME).exists()


@pytest.fixture
def data() -> None:
    require_shared("")  # the folder itself


@pytest.mark.parametrize(
    "function", [directly, through_another, within_a_function_of_its_own, real_qwen3_tokenizer]
)
def test_who_calls_for_data_is_found(function: object) -> None:
    assert calls_require_shared(function)


@pytest.mark.parametrize("function", [with_a_stand_in, qwen3_tokenizer, shared, pytest.skip])
def test_who_does_not_is_not(function: object) -> None:
    assert not calls_require_shared(function)


def test_a_test_that_asks_for_nothing_is_not_marked(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("shared") is None


@pytest.mark.usefixtures("data")
def test_a_test_is_marked_for_its_fixtures(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("shared") is not None


def test_absent_data_are_skipped_by_name() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"\.\./shared/no such data is not here"):
        globals()["directly"]()
