"""Pickles read without Python's unpickler.

A pickle is a program for an unpickler, which imports and calls what the program names. Keeping a
list of names that may be called does not make that safe: with ``ndarray`` on it, bytes of the file
become pointers. So no unpickler sees the bytes here. The standard library's `pickletools` decodes
the opcodes, which runs nothing, and a machine of our own builds plain data of them; what is called
are builders of ours alone (`Known`), and each checks what it is given.

Refusing pickles, and converting them in a second process with limits, would have left the same
unpickler in that process, and every user of SlideChat's data sets or of a ``.pth`` file with one
more step. This reader is shorter than such a process with its limits, and there is less to trust.

Memory stays in proportion to the file: an opcode adds one small object, and the bytes of arrays,
texts and tensors are counted as often as the program makes them. Nothing here calls itself.
"""

from __future__ import annotations

import pickletools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

import numpy as np

from tcssa.errors import FileError
from tcssa.files.boundary import UnsoundError, reading
from tcssa.files.limits import JSON_DEPTH, PICKLED_BYTES, PICKLED_VALUES
from tcssa.files.pickled_keys import PLAIN, KeyGuard

_NEWEST_PROTOCOL = 5
_BYTES_PER_FILE_BYTE = 8
"""Tensors of a file may share their numbers, a few times over; beyond it `PICKLED_BYTES` counts."""
_MOST_NOTES, _MOST_ARGUMENTS = 2**32, 64
_LEAVES: tuple[type, ...] = (*PLAIN, complex, np.ndarray, np.generic)


class Window:
    """A file up to ``end``.

    A file's own ``read`` takes memory for as many bytes as a damaged length asks for, before it
    finds that they are not there.
    """

    def __init__(self, stream: IO[bytes], end: int) -> None:
        self._stream, self._end = stream, end

    @property
    def num_left(self) -> int:
        """Bytes that are left."""
        return max(0, self._end - self._stream.tell())

    def read(self, count: int) -> bytes:
        """Read at most ``count`` bytes, and none beyond the end."""
        return self._stream.read(min(count, self.num_left))

    def readline(self) -> bytes:
        """Read to the end of the line."""
        return self._stream.readline(self.num_left)

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._stream.tell()


@dataclass(frozen=True)
class Known:
    """A name that pickles call, and the builder that stands for it here."""

    name: str
    build: Callable[..., Any]


class Shell:
    """An object between its making and the opcode that brings its state."""

    def __init__(self, fill: Callable[[Any], Any]) -> None:
        self._fill = fill
        self.value: Any = self

    def take(self, state: Any) -> Any:
        """Build the value out of the state."""
        if self.value is not self:
            raise UnsoundError("an object of the pickle gets a second state")
        self.value = self._fill(state)
        return self.value


class Names(Protocol):
    """The names that a pickle may use."""

    leaves: tuple[type, ...]
    """Types beside the plain ones that the result may hold."""

    def __call__(self, module: str, name: str, /) -> Any:
        """Return a `Known` or a value; None where the name is no data."""


@dataclass
class PickleReader:
    """Reads the pickles of one file.

    Attributes:
        path: The file, named in errors.
        error: Type of the error to raise.
        size: Size of the file, in bytes.
        names: The names that the pickle may use.
        persistent: Returns the value that a persistent id stands for; None refuses such ids.
        hint: The next step for someone whose file holds more than data.
    """

    path: Path
    error: type[FileError]
    size: int
    names: Names
    persistent: Callable[[Any], Any] | None = None
    hint: str | None = None

    def read(self, window: Window) -> Any:
        """Read one pickle: plain values, lists, tuples, dicts, arrays, and what `names` adds.

        Raises:
            FileError: Of the type ``error``; the pickle is damaged, or holds more than data.
        """
        with reading(self.path, self.error):
            try:
                result = _Machine(self, window).run()
            except (LookupError, UnicodeError):  # an empty stack, an unknown memo, no text
                raise UnsoundError("the pickle is damaged") from None
            self._require_plain(result)
        return result

    def refuse(self, name: str) -> NoReturn:
        """Raise the error for a pickle that names something else than data."""
        reason = f"holds more than data ({name}) and was not loaded; nothing in it was run"
        raise self.error(self.path, reason, hint=self.hint)

    def _require_plain(self, result: Any) -> None:
        """Require plain values all the way down, no container within itself, and a sane size.

        Shared containers are counted as often as they are reached: whoever walks the result walks
        them as often.
        """
        leaves = (*_LEAVES, *self.names.leaves)
        num_values: dict[int, int] = {}
        depths: dict[int, int] = {}
        entered: set[int] = set()
        most, deepest = PICKLED_VALUES.value(), JSON_DEPTH.value()
        todo = [(result, False)]
        while todo:
            value, is_done = todo.pop()
            if not isinstance(value, list | tuple | dict):
                if not isinstance(value, leaves):
                    found = value.name if isinstance(value, Known) else type(value).__name__
                    raise UnsoundError(f"the pickle holds a bare {found}")
                continue
            inner: Sequence[Any] = list(value.values()) if isinstance(value, dict) else value
            if is_done:
                entered.discard(id(value))
                num_values[id(value)] = 1 + sum(num_values.get(id(each), 1) for each in inner)
                depths[id(value)] = 1 + max((depths.get(id(x), 0) for x in inner), default=0)
                if num_values[id(value)] > most:
                    PICKLED_VALUES.require(num_values[id(value)], self.path, self.error)
                if depths[id(value)] > deepest:
                    JSON_DEPTH.require(depths[id(value)], self.path, self.error)
            elif id(value) in entered:
                raise UnsoundError("the pickle holds a container within itself")
            elif id(value) not in depths:
                entered.add(id(value))
                if len(entered) > deepest:
                    JSON_DEPTH.require(len(entered), self.path, self.error)
                todo.append((value, True))
                todo.extend((each, False) for each in inner)


class _Machine:
    """The stack and the memo of one pickle, and what each opcode does to them."""

    def __init__(self, reader: PickleReader, window: Window) -> None:
        self._reader, self._window = reader, window
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._keys = KeyGuard()
        self._num_bytes = 0

    def run(self) -> Any:
        """Carry out the pickle at which the window begins, and leave the stream behind it."""
        # pickletools takes anything with these three methods, and says so nowhere in its types
        for opcode, argument, _ in pickletools.genops(self._window):  # type: ignore[arg-type]
            name = opcode.name
            if name in _LITERALS:
                self._stack.append(argument)
            elif name in _OPERATIONS:
                _OPERATIONS[name](self, argument)
            elif name != "STOP":
                self._reader.refuse(f"opcode {name}")
        result = self._stack.pop()
        if self._stack or self._marked:
            raise UnsoundError("the pickle is damaged")
        return result

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def protocol(self, number: int) -> None:
        if number > _NEWEST_PROTOCOL:
            raise UnsoundError(f"the pickle is of protocol {number}")

    def frame(self, size: int) -> None:
        """Check a frame's size: only a hint for buffers, it must be true all the same."""
        if size > self._window.num_left:
            raise UnsoundError("the pickle is cut short")

    def mark(self, _: None) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def put(self, index: int | None) -> None:
        """Note the top of the stack; opcode MEMOIZE counts by itself."""
        if index is not None and index >= _MOST_NOTES:  # long numbers of one hash take long
            raise UnsoundError("the pickle is damaged")
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def get(self, index: int) -> None:
        noted = self._memo[index]
        self.push(noted.value if isinstance(noted, Shell) else noted)

    def tuple_of(self, count: int | None) -> None:
        """Make a tuple of the topmost values, or of all above the mark."""
        if count is None:
            self.push(tuple(self._from_mark()))
            return
        if len(self._stack) < count:
            raise LookupError
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        self.push(values)

    def append(self, _: None) -> None:
        self._extend([self._stack.pop()])

    def appends(self, _: None) -> None:
        self._extend(self._from_mark())

    def set_item(self, _: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def set_items(self, _: None) -> None:
        self._set_items(self._from_mark())

    def make_list(self, _: None) -> None:
        self.push(self._from_mark())

    def make_dict(self, _: None) -> None:
        items = self._from_mark()
        self.push({})
        self._set_items(items)

    def name(self, argument: str | None) -> None:
        """Look a name up: in the opcode, or on the stack as module and name."""
        if argument is None:
            name, module = self._stack.pop(), self._stack.pop()
        else:
            module, _, name = argument.partition(" ")
        if not (isinstance(module, str) and isinstance(name, str)):
            raise UnsoundError("the pickle is damaged")
        known = self._reader.names(module, name)
        if known is None:
            self._reader.refuse(f"{module}.{name}")
        self.push(known)

    def call(self, _: None) -> None:
        """Call a builder; the pickle wants a function called, or an object made of its class."""
        arguments, known = self._stack.pop(), self._stack.pop()
        if not (isinstance(known, Known) and isinstance(arguments, tuple)):
            raise UnsoundError("the pickle calls what is no function")
        if len(arguments) > _MOST_ARGUMENTS:  # each call copies them
            raise UnsoundError(f"the pickle has no sound {known.name}")
        try:
            self._push_counted(known.build(*arguments))
        except TypeError:  # more or fewer arguments, or none of the types that belong there
            raise UnsoundError(f"the pickle has no sound {known.name}") from None

    def state(self, _: None) -> None:
        """Give an object its state; attributes that torch hangs on its dicts are left out."""
        state, target = self._stack.pop(), self._stack.pop()
        if isinstance(target, Shell):
            self._push_counted(target.take(state))
        elif isinstance(target, OrderedDict):
            self.push(target)
        else:
            raise UnsoundError("the pickle gives a state to what has none")

    def persistent(self, identity: str | None) -> None:
        """Stand a value in for its persistent id, which is in the opcode or on the stack."""
        if self._reader.persistent is None:
            self._reader.refuse("a persistent id")
        self.push(self._reader.persistent(self._stack.pop() if identity is None else identity))

    def _push_counted(self, value: Any) -> None:
        sized = isinstance(value, str | bytes)
        self._num_bytes += len(value) if sized else getattr(value, "nbytes", 0)
        if self._num_bytes > _BYTES_PER_FILE_BYTE * self._reader.size:
            PICKLED_BYTES.require(self._num_bytes, self._reader.path, self._reader.error)
        self.push(value)

    def _from_mark(self) -> list[Any]:
        values, self._stack = self._stack, self._marked.pop()
        return values

    def _extend(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise UnsoundError("the pickle appends to what is no list")
        target.extend(values)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise UnsoundError("the pickle sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._keys.require(key, target)
            target[key] = value


_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
}
"""Opcodes whose argument is the value."""

_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "FRAME": _Machine.frame,
    "NONE": _Machine.push,
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "BYTEARRAY8": lambda machine, value: machine.push(bytes(value)),
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "TUPLE": _Machine.tuple_of,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.state,
    "PERSID": _Machine.persistent,
    "BINPERSID": _Machine.persistent,
}
