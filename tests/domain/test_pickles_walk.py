"""The opcode walker names every global that an unpickler would import, however it is named, and never loads one."""

import collections
import io
import pickle
import pickletools
import tracemalloc
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.pickles import UNRESOLVED, PickleWalk


def walked(body, step=None):
    walk = PickleWalk(lambda _: "all")
    for at in range(0, len(body), step or max(1, len(body))):
        walk.feed(body[at : at + (step or len(body))])
    walk.end()
    return walk


def names(body, step=None):
    return set(walked(body, step).globals.get("all", {}))


class Evil:
    def __reduce__(self):
        return (eval, ("1",))


class Recording(pickle.Unpickler):
    def __init__(self, body):
        super().__init__(io.BytesIO(body))
        self.names = set()

    def find_class(self, module, name):
        self.names.add(python3(module, name))
        return super().find_class(module, name)


def python3(module, name):
    """Return the name that the unpickler makes of one of Python 2, after it has asked."""
    return ".".join(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))


VALUES = [
    np.arange(3),
    np.float32(1),
    np.array([None, "a"], dtype=object),
    collections.OrderedDict(a=1),
    [collections.Counter("aab"), collections.Counter()],
    {1, 2},
    b"bytes",
    bytearray(b"x" * 1000),
    "long" * 1000,
    2**5000,
    [1.5, None, True, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    complex(1, 2),
    Evil(),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_the_globals_are_those_that_the_unpickler_asks_for(value, protocol):
    body = pickle.dumps(value, protocol)
    recording = Recording(body)
    recording.load()
    for step in (None, 1, 7):
        assert names(body, step) == recording.names
    assert names(pickletools.optimize(body)) == recording.names


SYSTEM = b"cos\nsystem\n(S'id'\ntR."


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (SYSTEM, "os.system"),
        (b"(S'id'\nios\nsystem\n.", "os.system"),
        (b"c__builtin__\neval\n.", "builtins.eval"),
        (b"ccommands\ngetoutput\n.", "subprocess.getoutput"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93.", "os.system"),
        (b"\x80\x04X\2\0\0\0osX\6\0\0\0system\x93.", "os.system"),
        (b"\x80\x04\x8d\2\0\0\0\0\0\0\0os\x8c\x06system\x93.", "os.system"),
        (b"\x80\x04U\2osT\6\0\0\0system\x93.", "os.system"),
        (b"S'o\\x73'\nVs\\u0079stem\n\x93.", "os.system"),
        (b"Vos\np7\n0Vsystem\np8\n0g7\ng8\n\x93.", "os.system"),
        (b"\x80\x04\x8c\x02osr\xff\0\0\0\x8c\x06systemr\0\1\0\x000j\xff\0\0\0j\0\1\0\0\x93.", "os.system"),
        (b"\x80\x04\x8c\x02os2\x93.", "os.os"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x01x0\x93.", "os.system"),
        (b"\x80\x04\x8c\x02os(\x8c\x01x1\x8c\x06system\x93.", "os.system"),
        (b"\x80\x04NN\x93.", UNRESOLVED),
        (b"\x80\x04\x8c\x02os\x94N\x94\x8c\x01xq\x00h\x00h\x01\x93.", UNRESOLVED),
        (b"\x80\x02\x82\x07.", "(extension 7)"),
        (b"\x80\x02\x83\x07\1.", "(extension 263)"),
        (b"\x80\x02\x84\x07\0\0\0.", "(extension 7)"),
    ],
)
def test_a_global_is_resolved_however_it_is_named(body, name):
    for step in (None, 1):
        assert names(body, step) == {name}


def test_a_memo_entry_that_was_overwritten_means_its_newest_value():
    assert names(b"\x80\x04\x8c\x01xq\x00\x8c\x02osq\x00\x8c\x06systemq\x010h\x00h\x01\x93.") == {"os.system"}


def test_a_string_from_a_call_is_unknown_and_never_taken_for_harmless():
    assert UNRESOLVED in names(b"\x80\x04\x8c\x02osc_codecs\nencode\n)R\x93.")


def test_the_second_and_third_streams_count_too():
    first = pickle.dumps({"a": 1})
    assert names(first + pickle.dumps(2) + SYSTEM) == {"os.system"}
    assert walked(first + pickle.dumps(2) + SYSTEM).streams == 3
    assert names(first + b"\xff junk") == set()


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", SYSTEM[:-1], b"\x80\x06N.", b".", b"(.", b"0.", b"R.", b"t.", b"\x93.", b"2.", b"Ix y\n.", b"gx\n."],
)
def test_what_comes_to_no_stop_names_nothing_and_is_damaged(body):
    walk = walked(body)
    assert not walk.globals
    assert walk.streams == 0
    assert walk.is_damaged


def test_a_stream_that_is_cut_short_still_shows_what_it_would_have_imported():
    assert set(walked(SYSTEM[:-1]).pending["all"]) == {"os.system"}


def test_names_past_many_strings_and_a_deep_stack_are_still_resolved_or_reported():
    words = [f"word{n}" for n in range(120_000)]
    assert names(pickle.dumps([words, Evil()], 4)) <= {"builtins.eval", UNRESOLVED}
    assert names(pickle.dumps([words, Evil()], 4)) != set()
    assert names(b"(" * 150_000 + SYSTEM) == {"os.system"}


def test_a_large_pickle_costs_no_memory():
    body = b"\x80\x04]" + b"(" + b"\x8c\x08" + b"x" * 8
    walk = PickleWalk(lambda _: "all")
    tracemalloc.start()
    walk.feed(body)
    for _ in range(5):
        walk.feed(b"\x8c\x64" + b"x" * 100 + b"\x94" + b"B\0\0\x10\0" + bytes(2**20) + b"N" * 1_000)
    for _ in range(11):
        walk.feed((b"\x8c\x64" + b"y" * 100 + b"\x94") * 10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert walk.failure is None
    assert peak < 64 * 2**20


@given(st.binary(max_size=200))
def test_random_bytes_end_in_an_answer(body):
    assert names(body) == names(body, 1)
    assert names(b"\x80\x04" + body) == names(b"\x80\x04" + body, 3)


@given(st.lists(st.sampled_from(list(VALUES[:9])), max_size=3), st.integers(0, 5), st.data())
def test_a_changed_byte_never_hides_an_import_that_the_unpickler_would_make(values, protocol, data):
    body = bytearray(pickle.dumps([values, Evil()], protocol))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    recording = Asked(bytes(body))
    try:
        recording.load()
    except Exception:  # noqa: BLE001  # whatever a damaged pickle raises
        return
    found = names(bytes(body))
    assert recording.names <= found or UNRESOLVED in found


class Asked(Recording):
    """Answers with something harmless, so that a changed pickle may name what it likes."""

    def find_class(self, module, name):
        self.names.add(python3(module, name))
        return lambda *_: None
