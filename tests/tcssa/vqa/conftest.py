import copy
from dataclasses import replace
from pathlib import Path

import pytest
from vqa_models import tiny_qwen3

from tcssa.vqa.model.llm import LoadedLLM, load_llm


@pytest.fixture(scope="session")
def tiny_llm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Qwen3; written once, read only."""
    return tiny_qwen3(tmp_path_factory.mktemp("tiny-qwen3"))


@pytest.fixture(scope="session")
def loaded_tiny_llm(tiny_llm_folder: Path) -> LoadedLLM:
    """The tiny Qwen3; its tokenizer is never changed, and takes a second to read."""
    return load_llm(str(tiny_llm_folder))


@pytest.fixture
def tiny_llm(loaded_tiny_llm: LoadedLLM) -> LoadedLLM:
    """The tiny Qwen3 with weights of its own for each test."""
    return replace(loaded_tiny_llm, model=copy.deepcopy(loaded_tiny_llm.model))
