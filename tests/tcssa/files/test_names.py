"""Names of files that stand in files."""

import pytest

from tcssa.files.names import file_name, inner_path


@pytest.mark.parametrize("name", ["model.onnx", "fold-3", "a b.data", "é.plan", "..x"])
def test_plain_names_pass(name: str) -> None:
    assert file_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "/etc/passwd", "../x", "a\\b", "C:x", "C:\\x", "a\0b", "a\nb", "x" * 256,
     "é" * 128, "a/", "/"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no plain name"):
        file_name(name)


def test_paths_stay_below_their_folder() -> None:
    assert inner_path("adapter/adapter_config.json") == "adapter/adapter_config.json"
    for path in ("a//b", "a/../b", "/a", "a/", "a/.", "../a", "a\\..\\b/c"):
        with pytest.raises(ValueError, match="no plain name"):
            inner_path(path)
