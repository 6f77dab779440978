"""Reading of YAML: plain values only, and no more of them than settings need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tcssa.errors import FileError, one_line
from tcssa.files.boundary import reading, require_file
from tcssa.files.limits import SETTINGS_BYTES, SETTINGS_VALUES
from tcssa.files.text import read_text

_INT, _FLOAT, _TEXT = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "str"))
_MOST_BITS = 64


class _Loader(yaml.SafeLoader):
    """Build plain values only, and refuse a mapping that repeats a name."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """Find the tag of a node; numbers to the base 60 (``1:30``) are taken for text.

        Reading such numbers takes a time that grows as n².

        Args:
            kind: Class of the node.
            value: Its text, if it is a scalar.
            implicit: Whether the tag may be told from the text, as PyYAML states it.
        """
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]  # in the stubs
        return _TEXT if tag in (_INT, _FLOAT) and ":" in value else tag

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Make a number, which an explicit tag can claim of any text."""
        if ":" in node.value:
            raise yaml.YAMLError(f"{node.value[:60]!r} is no number")
        if node.tag == _FLOAT:
            return self.construct_yaml_float(node)
        value: int = self.construct_yaml_int(node)
        if value.bit_length() > _MOST_BITS:
            raise yaml.YAMLError(f"a number has more than {_MOST_BITS} bits")
        return value

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping of distinct names; YAML silently keeps the last of equal ones."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.YAMLError(f"the name {key.value[:60]!r} stands twice")
            seen.add(str(key.value))
        return node


_Loader.add_constructor(_INT, _Loader.construct_number)
_Loader.add_constructor(_FLOAT, _Loader.construct_number)


def read_yaml_mapping(path: Path, error: type[FileError]) -> dict[str, Any]:
    """Read a YAML file that holds names and values; an empty file holds none.

    Args:
        path: The file.
        error: Type of the error to raise.

    Raises:
        FileError: Of the type ``error``; the file cannot be read, is not valid YAML, asks for
            anything but plain values, repeats a name, holds more values than settings have once its
            aliases are written out, or is no mapping.
    """
    SETTINGS_BYTES.require(require_file(path, error), path, error)
    text = read_text(path, error)
    with reading(path, error):
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return {}
            SETTINGS_VALUES.require(_num_values(root), path, error)
            content = loader.construct_document(root)
        except yaml.YAMLError as fault:
            raise error(path, f"is not valid YAML ({one_line(fault)})") from None
        finally:
            loader.dispose()
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise error(path, "must hold names and values")
    return content


def line_of(path: Path, place: Sequence[str]) -> int | None:
    """Find the line of a YAML file on which a value is named.

    Args:
        path: The file, which `read_yaml_mapping` has read.
        place: The names that lead to it.

    Returns:
        The line, counted from 1; None if the value is not in the file.
    """
    node: Any = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=_Loader)
    line = None
    for name in place:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = [(key, value) for key, value in pairs if key.value == name]
        if not found:
            return None
        key, node = found[0]
        line = key.start_mark.line + 1
    return line


def _num_values(root: yaml.Node) -> int:
    """Count the values of a document with its aliases written out.

    Raises:
        yaml.YAMLError: An alias stands within what it names.
    """
    counts: dict[int, int] = {}
    open_nodes: set[int] = set()

    def count(node: yaml.Node) -> int:
        if id(node) in counts:
            return counts[id(node)]
        if id(node) in open_nodes:
            raise yaml.YAMLError("an alias stands within what it names")
        open_nodes.add(id(node))
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        counts[id(node)] = 1 + sum(map(count, inner))
        open_nodes.discard(id(node))
        return counts[id(node)]

    return count(root)
