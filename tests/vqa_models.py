"""Small language models for tests: random weights, a real tokenizer."""

from pathlib import Path


def tiny_qwen3(path: Path, seed: int = 0) -> Path:
    """Write a folder with a random Qwen3 (2 layers, width 64) and the real Qwen3 tokenizer.

    The test that calls it is skipped where the tokenizer is absent.
    """
    raise NotImplementedError
