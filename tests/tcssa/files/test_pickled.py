"""Pickles become plain data, or one error; no unpickler sees them."""

import argparse
import io
import itertools
import pickle
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import pytest

from tcssa.errors import FeatureFileError
from tcssa.files.pickled import PickleReader, Window
from tcssa.files.pickled_names import array_names


class ArrayNames:
    leaves: tuple[type, ...] = ()

    def __call__(self, module: str, name: str, /) -> Any:
        return array_names(module, name)


def read(content: bytes) -> Any:
    reader = PickleReader(Path("S.npy"), FeatureFileError, len(content), ArrayNames())
    return reader.read(Window(io.BytesIO(content), len(content)))


def refused(content: bytes, match: str = "S.npy") -> None:
    with pytest.raises(FeatureFileError, match=match) as caught:
        read(content)
    assert str(caught.value).startswith("S.npy: ")


PLAIN = {
    "numbers": [0, -5, 255, 65536, 2**31, -(2**70), 1.5, float("inf"), True, False, None],
    "text": ["", "a", "µ\n'\"\\", "x" * 300],
    "bytes": [b"", b"xy\x00\xff", b"z" * 300],
    "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, {"a": [{1: (2.5, None)}]}],
    3: OrderedDict([("b", 1), ("a", 2)]),
    None: "a key",
    (1, "a", None): {(): 1.5, (2.5, b"x"): complex(1, -0.5)},
    "complex": [1j, complex(0.0, float("inf"))],
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_read_as_pickle_reads_it(protocol: int) -> None:
    content = pickle.dumps(PLAIN, protocol)
    assert read(content) == pickle.loads(content) == PLAIN
    assert type(read(content)[3]) is OrderedDict


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array([True, False]),
        np.float64(2.5),
        np.array(7, dtype=np.uint8),
        np.zeros((0, 4), np.float16),
    ],
    ids=str,
)
def test_arrays_are_read_as_pickle_reads_them(protocol: int, array: Any) -> None:
    content = pickle.dumps({"feature": array, "again": array}, protocol)
    found = read(content)["again"]
    assert found.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(found, array)


def test_arrays_of_objects_are_lists(tmp_path: Path) -> None:
    array = np.empty(2, object)
    array[:] = [{"feature": np.arange(3.0)}, "x"]
    first, second = read(pickle.dumps(array))
    assert np.array_equal(first["feature"], [0, 1, 2])
    assert second == "x"


def test_arrays_of_older_numpy_are_read() -> None:
    content = pickle.dumps(np.arange(3.0), 2)
    older = content.replace(b"numpy._core", b"numpy.core")
    assert older != content
    assert np.array_equal(read(older), np.arange(3.0))


def test_paths_are_text_and_namespaces_dicts() -> None:
    content = {"args": argparse.Namespace(out=PurePosixPath("a/b"), lr=0.5)}
    assert read(pickle.dumps(content)) == {"args": {"out": "a/b", "lr": 0.5}}
    assert read(pickle.dumps(PureWindowsPath("C:\\a"))) == "C:\\a"


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


RUNS = {
    "GLOBAL": b"cos\nsystem\n" + text("touch ran") + b"\x85R.",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93" + text("touch ran") + b"\x85R.",
    "INST": b"(" + text("touch ran") + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + text("touch ran") + b"o.",
    "NEWOBJ": b"csubprocess\nPopen\n" + text("touch ran") + b"\x85\x81.",
    "NEWOBJ_EX": b"csubprocess\nPopen\n" + text("touch ran") + b"\x85}\x92.",
    "getattr": b"c__builtin__\ngetattr\n(cargparse\nNamespace\n" + text("__init__") + b"tR.",
    "eval": b"cbuiltins\neval\n" + text("open('ran', 'w')") + b"\x85R.",
    "EXT1": b"\x82\x01.",
    "PERSID": b"Pcos.system\n.",
    "BINPERSID": text("os.system") + b"Q.",
    "NEXT_BUFFER": b"\x97.",
    "set": b"\x8f.",
    "POP": b"NN0.",
    "DUP": b"N2.",
    "reconstructor": b"ccopyreg\n_reconstructor\n.",
}


@pytest.mark.parametrize("content", RUNS.values(), ids=RUNS)
def test_a_pickle_that_would_run_something_runs_nothing(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(b"\x80\x04" + content, r"holds more than data \(.+\) and was not loaded; nothing in it")
    assert not list(tmp_path.iterdir())


_NDARRAY, _DTYPE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"
_RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"
_SHELL = _RECONSTRUCT + _NDARRAY + b"K\x00\x85C\x01b\x87R"


def dtype(code: str, state: tuple[Any, ...] = (3, "<", None, None, None, -1, -1, 0)) -> bytes:
    return _DTYPE + text(code) + b"\x89\x88\x87R" + pickle.dumps(state, 2)[2:-1] + b"b"


def array(shape: tuple[int, ...], code: str, data: bytes, **more: Any) -> bytes:
    packed = b"C" + bytes([len(data)]) + data
    begin = b"(K\x01" + pickle.dumps(shape, 2)[2:-1] + dtype(code, **more)
    return b"\x80\x04" + _SHELL + begin + b"\x89" + packed + b"tb."


EIGHT = b"A" * 8
SCALAR = b"\x80\x04cnumpy._core.multiarray\nscalar\n"
ENCODE = b"\x80\x04c_codecs\nencode\n"
RECORDS = (3, "|", None, ("a",), {"a": 1}, 8, 1, 27)
SUBARRAY = (3, "<", ("O8", (1,)), None, None, 8, 1, 27)

NO_ARRAYS = {
    "pointer": b"\x80\x04" + _NDARRAY + b"K\x01\x85" + dtype("O8") + b"C\x08" + EIGHT + b"\x87R.",
    "pointer by its state": array((1,), "O8", EIGHT),
    "records": array((1,), "V8", EIGHT, state=RECORDS),
    "plain numbers with fields": array((1,), "f8", EIGHT, state=RECORDS),
    "subarray": array((1,), "f8", EIGHT, state=SUBARRAY),
    "void": array((2,), "V4", EIGHT),
    "text": array((2,), "U1", EIGHT),
    "dates": array((1,), "M8", EIGHT),
    "too few bytes": array((3,), "f4", EIGHT),
    "too many bytes": array((1,), "f4", EIGHT),
    "negative lengths": array((-1, -2), "f4", EIGHT),
    "a product that wraps": array((2**32, 2**32), "u1", b""),
    "lengths beyond any array": array((2**80, 0), "u1", b""),
    "a truth value of 2": array((1,), "b1", b"\x02"),
    "no state": b"\x80\x04" + _SHELL + b".",
    "no state, in a list": b"\x80\x04]" + _SHELL + b"a.",
    "another class": _RECONSTRUCT + _DTYPE + b"K\x00\x85C\x01b\x87R.",
    "a first shape": _RECONSTRUCT + _NDARRAY + b"K\x09\x85C\x01b\x87R.",
    "another version": array((1,), "u1", b"A").replace(b"(K\x01", b"(K\x02", 1),
    "another version of its type": array((1,), "u1", b"A", state=(9, "<", *[None] * 3, -1, -1, 0)),
    "another byte order": array((1,), "u1", b"A", state=(3, "!", *[None] * 3, -1, -1, 0)),
    "two states": array((1,), "u1", b"A")[:-1] + b"Nb.",
    "a scalar of objects": SCALAR + dtype("O8") + b"K\x05\x86R.",
    "a scalar with too many bytes": SCALAR + dtype("f4") + b"C\x08" + EIGHT + b"\x86R.",
    "a bare function": b"\x80\x04" + _RECONSTRUCT + b".",
    "a complex number of text": b"\x80\x04cbuiltins\ncomplex\n" + text("1j") + text("") + b"\x86R.",
    "a dict within a key": b"\x80\x04}}\x85Ns.",
    "a tuple within a key": b"\x80\x04}K\x01\x85\x85Ns.",
    "an array within a key": b"\x80\x04}" + array((1,), "u1", b"A")[2:-1] + b"\x85Ns.",
    "a key twice": b"\x80\x04}(K\x01NK\x01Nu.",
    "a function as a key": b"\x80\x04}" + _NDARRAY + b"Ns.",
    "an array as a key": b"\x80\x04}" + array((1,), "u1", b"A")[2:-1] + b"Ns.",
    "text that is no bytes": ENCODE + text("Ā") + text("latin1") + b"\x86R.",
    "another encoding": ENCODE + text("QQ==") + text("base64") + b"\x86R.",
}


@pytest.mark.parametrize("content", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_an_array_that_is_not_sound_is_refused(content: bytes) -> None:
    refused(content)


def test_the_arrays_of_these_tests_are_sound_but_for_their_fault() -> None:
    assert np.array_equal(read(array((2,), "f4", b"\0" * 8)), [0, 0])


def number(value: int) -> bytes:
    return b"\x8a\x0a" + value.to_bytes(10, "little")


LARGE = (500_000).to_bytes(4, "little") + b"0" * 500_000
FOR_EVER = (2**62).to_bytes(8, "little") + b"x."
ENCODED = b"(" + ENCODE[2:] + b"q\x50X" + LARGE + b"q\x51" + text("latin1") + b"q\x52"
FILLED = b"(B" + LARGE + b"q\x50" + dtype("u1") + b"q\x51"
ONE = _SHELL + b"(K\x01J" + (500_000).to_bytes(4, "little") + b"\x85h\x51\x89h\x50tb"
HASHED_TO_0 = 2**61 - 1
ALIKE = list(itertools.product((-1, -2), repeat=10))  # -1 and -2 have one hash
BOMBS = {
    "laughs": (
        b"(]\x94" + b"".join(b"](h%ch%ce\x94" % (n, n) for n in range(60)) + b"t.",
        "values",
    ),
    "itself": (b"]\x94h\x00a.", "within itself"),
    "itself by a dict": (b"}\x94(K\x01](h\x00eu.", "within itself"),
    "deep": (b"]" * 9_000 + b"a" * 8_999 + b".", "levels of nesting"),
    "deep tuples": (b"N" + b"\x85" * 9_000 + b".", "levels of nesting"),
    "many bytes of one text": (ENCODED + b"h\x50h\x51h\x52\x86R" * 5_000 + b"t.", "share"),
    "many arrays of one": (FILLED + ONE * 5_000 + b"t.", "share"),
    "frame": (b"\x95" + b"\xff" * 8 + b"N.", "cut short"),
    "long bytes": (b"\x8e" + FOR_EVER, "S.npy"),
    "long text": (b"\x8d" + FOR_EVER, "S.npy"),
    "long bytearray": (b"\x96" + FOR_EVER, "S.npy"),
    "long number": (b"\x8b" + (2**31 - 1).to_bytes(4, "little") + b"1.", "S.npy"),
    "digits": (b"I" + b"9" * 100_000 + b"\n.", "S.npy"),
    "marks": (b"(" * 100_000 + b".", "damaged"),
    "numbers of one hash": (
        b"}(" + b"".join(number(k * HASHED_TO_0) + b"N" for k in range(1, 60_000)) + b"u.",
        "more than 64 bits",
    ),
    "tuples of one hash": (
        b"}(" + b"".join(pickle.dumps(key, 2)[2:-1] + b"N" for key in ALIKE) + b"u.",
        "keys of one hash",
    ),
    "a long tuple, often": (
        b"(" + b"N" * 200_000 + b"t\x94" + b"}h\x00Ns" * 50_000 + b".",
        "a tuple as a key",
    ),
    "places in the memo of one hash": (
        b"N" + b"".join(b"p%d\n" % (k * HASHED_TO_0) for k in range(1, 40_000)) + b".",
        "damaged",
    ),
    "a path of slashes, often": (
        b"(cpathlib\nPosixPath\n\x94(X"
        + LARGE[:4]
        + b"/" * 500_000
        + b"t\x94"
        + b"h\x00h\x01R" * 5_000
        + b"t.",
        "longer than any",
    ),
    "many arguments, often": (
        b"("
        + _DTYPE
        + b"\x94("
        + text("f4")
        + b"N" * 300_000
        + b"t\x94"
        + b"h\x00h\x01R" * 20_000
        + b"t.",
        "no sound numpy.dtype",
    ),
    "lengths of megabits": (
        _SHELL
        + b"(K\x01(\x8b"
        + LARGE
        + b"\x94"
        + b"h\x00" * 31
        + b"t"
        + dtype("f4")
        + b"\x89C\x00tb.",
        "no tuple of lengths",
    ),
    "memo": (b"N" + b"r\xff\xff\xff\x7f" * 10_000 + b"h\x07.", "damaged"),
}


@pytest.mark.parametrize(("content", "reason"), BOMBS.values(), ids=BOMBS)
def test_a_small_pickle_takes_neither_memory_nor_time(content: bytes, reason: str) -> None:
    tracemalloc.start()
    begin = time.monotonic()
    try:
        refused(b"\x80\x04" + content, reason)
        assert tracemalloc.get_traced_memory()[1] < 2**28
        assert time.monotonic() - begin < 15
    finally:
        tracemalloc.stop()


def test_a_few_arrays_may_share_their_numbers() -> None:
    shared = np.arange(50_000.0)
    content = pickle.dumps([{"feature": shared[:]} for _ in range(3)])
    assert len(read(content)) == 3


class PlainUnpickler(pickle.Unpickler):
    """The oracle; it does not come near arrays, whose state NumPy takes without a look."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(module, name)


def flipped(content: bytes) -> Iterator[bytes]:
    for place in range(len(content) * 8):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        yield bytes(damaged)


ARRAYS = pickle.dumps({"feature": np.arange(3, dtype=np.float32), "mean": np.float16(2)}, 4)
NO_OBJECTS = pickle.dumps([{"a": 1, "b": [2.5, "x"], "c": (b"y", None, True)}, -5, 2**70], 3)


@pytest.mark.parametrize("content", [ARRAYS, NO_OBJECTS], ids=["arrays", "plain"])
def test_a_pickle_that_is_cut_short_is_one_error(content: bytes) -> None:
    for end in range(len(content)):
        refused(content[:end])


def test_a_flipped_bit_gives_an_error_or_what_pickle_reads() -> None:
    num_read = 0
    for damaged in flipped(NO_OBJECTS):
        try:
            found = read(damaged)
        except FeatureFileError:
            continue
        num_read += 1
        assert repr(found) == repr(PlainUnpickler(io.BytesIO(damaged)).load())
    assert num_read > 50  # flips in numbers and text are no damage that can be seen


def test_a_flipped_bit_makes_no_array_that_its_bytes_do_not_fill() -> None:
    num_read = 0
    for damaged in flipped(ARRAYS):
        try:
            found = read(damaged)
        except FeatureFileError:
            continue
        num_read += 1
        sizes = [value.nbytes for value in found.values() if isinstance(value, np.ndarray)]
        assert sizes == [12]
        assert all(value.dtype.kind in "biuf" for value in found.values())
    assert num_read > 12 * 8
