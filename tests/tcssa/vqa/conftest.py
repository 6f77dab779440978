from pathlib import Path

import pytest
from vqa_models import tiny_qwen3

from tcssa.vqa.llm import LoadedLLM, load_llm


@pytest.fixture(scope="session")
def tiny_llm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Qwen3; written once, read only."""
    return tiny_qwen3(tmp_path_factory.mktemp("tiny-qwen3"))


@pytest.fixture
def tiny_llm(tiny_llm_folder: Path) -> LoadedLLM:
    """The tiny Qwen3, loaded anew for each test."""
    return load_llm(str(tiny_llm_folder))
