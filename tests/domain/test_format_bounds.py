"""What no small artifact comes to, and what other rules come before, is refused all the same and says why."""

import zlib
from dataclasses import replace

import pytest

from chalicelib.domain.formats import DEFAULTS
from chalicelib.domain.formats.torch_zip import Budget, ZipStream
from chalicelib.domain.protobuf import BUFFER_LIMIT, Malformed, Wire
from chalicelib.domain.zipdir import STORED, Directory, Entry, ZipFault, read_directory
from chalicelib.domain.zipwalk import NOWHERE, extract, walk
from tests.domain.uploads import codes, judged, mar
from tests.validation.byhand import CRC, PACKED, SIZE, Raw, end_bytes, local_bytes, message

ENTRY = Entry(b"a", "a", flags=0, method=STORED, crc=zlib.crc32(b"body"), packed=4, size=4, offset=0, mode=0)
HEADED = local_bytes(Raw(b"a", b"body"))
ALL = 10_000


def fault_of_inner_zip(*pieces):
    stream = ZipStream(lambda _: NOWHERE, Budget(entries=ALL, expanded=2**30, ratio=200))
    for piece in pieces:
        stream.feed(piece)
    stream.end()
    return stream.fault


@pytest.mark.timeout(20)  # it would wait for the rest without end
def test_an_archive_that_became_shorter_since_it_was_listed_ends_too_early():
    assert extract(lambda start, length: HEADED[start : start + length], ENTRY, limit=10) == b"body"
    with pytest.raises(ZipFault, match=r"it ends at byte 20, 10 bytes too early"):
        extract(lambda *_: HEADED[:20], ENTRY, limit=10)


@pytest.mark.timeout(20)
def test_a_message_that_is_cut_ends_too_early():
    wire = Wire([message(2, b"whole")[:-2]])
    with pytest.raises(Malformed, match=r"it ends at byte 5, 2 bytes too early"):
        list(wire.fields())


def test_an_empty_archive_has_nothing_before_its_directory():
    walk([b""], Directory((), 0))
    with pytest.raises(ZipFault, match="before its directory that belong to no entry") as caught:
        walk([b"hidden"], Directory((), 6))
    assert caught.value.finding.code == "hidden_bytes"


def test_an_inner_archive_has_nothing_before_its_directory():
    start = len(HEADED)
    whole = HEADED + b"x" + end_bytes(0, 0, start + 1)
    fault = fault_of_inner_zip(whole)
    assert (fault.finding.code, "before its directory" in str(fault)) == ("hidden_bytes", True)


def test_one_small_file_that_takes_more_than_is_held_is_refused_before_it_is_read():
    def read(start, length):
        raise AssertionError((start, length))

    large = replace(ENTRY, packed=BUFFER_LIMIT + 1)
    with pytest.raises(ZipFault, match=rf"it takes {BUFFER_LIMIT + 1} bytes") as caught:
        extract(read, large, limit=10)
    assert caught.value.finding.code == "too_large"


def test_a_directory_of_more_than_is_held_is_refused_before_it_is_read():
    length = 2**25 + 1
    end = end_bytes(1, length, 0)

    def read(start, count):
        assert start >= length - count, "the directory is read"
        return (bytes(64) + end)[-count:][: length + len(end) - start]

    with pytest.raises(ZipFault, match=rf"its directory has {length} bytes, more than {2**25}"):
        read_directory(read, length + len(end), entries_limit=ALL)


def test_an_inner_directory_of_more_than_is_held_is_refused():
    fault = fault_of_inner_zip(HEADED, b"PK\1\2" + bytes(2**24), b"more")
    assert "its directory is too large" in str(fault)


def test_an_entry_full_of_ends_that_are_none_is_refused():
    head = local_bytes(Raw(b"a", flags=8, local={CRC: 0, PACKED: 0, SIZE: 0}))
    assert "it ends too early" in str(fault_of_inner_zip(head, b"PK\7\x08" * 1_000))
    assert "where it ends can't be told" in str(fault_of_inner_zip(head, b"PK\7\x08" * 100_010))


def test_a_pickle_is_walked_as_far_as_the_operator_says():
    """What must be a pickle says so as one that is not whole; anything else, that it is too long."""
    body, few = b"\x80\x02" + b"N0" * 50 + b"N.", replace(DEFAULTS, opcodes=100)
    for name, said in (("w.pt", "it must be a pickle"), ("notes.bin", "as a pickle it is too long")):
        archive = {"model.mar": mar(extra={name: body})}
        assert codes(judged(archive)) == []
        (finding,) = judged(archive, few).findings
        assert finding.code == "bad_pickle"
        assert said in finding.message
        assert "more than 100 opcodes" in finding.message


@pytest.mark.parametrize("opcodes", [103, 1_000])
def test_a_pickle_within_the_bound_passes(opcodes):
    body = b"\x80\x02" + b"N0" * 50 + b"N."
    assert codes(judged({"model.mar": mar(extra={"w.pt": body})}, replace(DEFAULTS, opcodes=opcodes))) == []


def test_a_source_that_is_not_in_its_encoding_does_not_parse():
    source = b"# coding: euc_kr\ndef handle(data, context): return '\xff'"
    (finding,) = judged({"model.mar": mar(source)}).findings
    assert finding.code == "bad_handler"
    assert "it doesn't parse: 'euc_kr' codec can't decode" in finding.message
