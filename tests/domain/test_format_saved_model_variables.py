"""Variables are judged by their index and a few of their bytes, however large they are."""

import pytest

from chalicelib.domain.findings import Verdict
from chalicelib.domain.formats import judge_upload
from chalicelib.domain.formats.checkpoint import INDEX, read_index
from chalicelib.domain.objects import Upload
from chalicelib.domain.protobuf import Malformed
from chalicelib.domain.sstable import crc32c, unmasked
from tests.domain.uploads import PREFIX, Memory, codes, folder, judged, stored
from tests.validation.byhand import index_of, message, meta_graph, saved_model, variable, varint

SHARD = "variables/variables.data-00000-of-00001"
SAVES = message(3, message(3, "save"))


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def summed(shard, offset, body):
    """Return what the index says of a tensor with its checksum."""
    return variable(shard, offset, len(body)) + varint(6 << 3 | 5) + masked(crc32c(body)).to_bytes(4, "little")


@pytest.fixture(scope="module")
def keras(saved_models):
    return folder(saved_models / "keras")


def test_a_changed_byte_of_a_small_tensor_is_found(keras):
    shard = keras[SHARD]
    sample = read_index(keras[INDEX]).samples[0]
    changed = bytearray(shard)
    changed[sample.start] ^= 1
    report = judged(keras | {SHARD: bytes(changed)})
    assert report.verdict is Verdict.REJECT
    assert codes(report) == ["bad_checksum"]
    assert sample.name in report.findings[0].message
    assert report.findings[0].where == SHARD


def test_every_real_tensor_has_the_checksum_that_is_compared(saved_models):
    samples = [s for path in saved_models.rglob("variables.index") for s in read_index(path.read_bytes()).samples]
    assert len(samples) > 6


def test_a_small_tensor_of_each_shard_is_compared(saved_models):
    files = folder(saved_models / "sharded")
    assert {s.path for s in read_index(files[INDEX]).samples} == {p for p in files if ".data-" in p}
    for path in [p for p in files if ".data-" in p]:
        assert codes(judged(files | {path: bytes(len(files[path]))})) == ["bad_checksum"]


def test_few_of_many_tensors_are_read_and_only_small_ones():
    rows = [(b"n%03d" % n, summed(0, 100 * n, bytes(100))) for n in range(50)]
    rows.append((b"z", summed(0, 5000, bytes(33 * 2**10))))
    samples = read_index(index_of(rows)).samples
    assert len(samples) == 8
    assert {s.size for s in samples} == {100}


def test_texts_and_tensors_in_slices_have_other_checksums_and_are_left():
    text = summed(0, 0, b"12345678").replace(b"\x08\x01", b"\x08\x07", 1)
    sliced = summed(0, 0, b"12345678") + message(7, b"")
    assert read_index(index_of([(b"a", text), (b"b", sliced)])).samples == ()


def test_a_shard_of_another_count_is_a_stray(keras):
    stray = "variables/variables.data-00001-of-00002"
    report = judged(keras | {stray: b"x"})
    assert codes(report) == ["stray_shard"]
    assert report.findings[0].where == stray


def test_other_files_beside_the_variables_are_no_shards(keras):
    assert judged(keras | {"variables/README": b"x"}).verdict is Verdict.ACCEPT


def test_a_shard_that_still_arrives_is_not_compared(keras):
    report = judged(keras | {SHARD: bytes(10)})
    assert (report.verdict, report.findings) == (Verdict.INCOMPLETE, ())


def test_an_entry_of_another_shard_is_malformed():
    with pytest.raises(Malformed, match="shard 3 of 1"):
        read_index(index_of([(b"w", variable(3, 0, 8))]))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 63, 64, 1001])
def test_crc32c_is_the_same_in_steps_of_four_bytes_and_of_one(size):
    body = bytes((7 * n + 3) & 0xFF for n in range(size))
    slow = 0xFFFFFFFF
    for byte in body:
        slow ^= byte
        for _ in range(8):
            slow = slow >> 1 ^ (0x82F63B78 if slow & 1 else 0)
    assert crc32c(body) == slow ^ 0xFFFFFFFF
    assert unmasked(masked(slow)) == slow


def test_ten_gigabytes_are_judged_by_less_than_a_hundredth_of_them():
    """The variables aren't there at all: what would be read of them is zeros."""
    total = 10 * 2**30
    rows = [(b"bias", summed(0, 0, bytes(64))), *((b"w%05d" % n, variable(0, 64 + n, 8)) for n in range(5_000))]
    rows.append((b"weights", variable(0, 6000, total - 6000)))
    files = {"saved_model.pb": saved_model(meta_graph(SAVES)), INDEX: index_of(rows)}

    class Counting(Memory):
        taken = 0

        def read(self, path, start, length):
            body = bytes(length) if path == SHARD else super().read(path, start, length)
            self.taken += len(body)
            return body

        def stream(self, path):
            for block in super().stream(path):
                self.taken += len(block)
                yield block

    reader = Counting(files)
    upload = Upload(PREFIX, (*(stored(path, len(body)) for path, body in files.items()), stored(SHARD, total)))
    report = judge_upload(upload, reader)
    assert report.verdict is Verdict.ACCEPT, report.findings
    assert reader.taken < total / 100
    assert reader.taken < 2**20
