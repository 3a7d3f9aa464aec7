"""What every Bucket does: the fake, moto behind the embedded store, and real MinIO."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import quote

import pytest

from chalicelib.adapters.s3 import S3Bucket, make_bucket
from chalicelib.domain.objects import StoredObject
from chalicelib.local.home import Home
from chalicelib.local.stores import Embedded, MinIO
from chalicelib.pipeline.ports import Bucket, Gone
from tests.fakes import FakeBucket

MIB = 2**20
PAGE = 3  # keys that a listing returns at once
names = (f"bucket-{n}" for n in count(1))


@dataclass(frozen=True)
class Kind:
    """How to get empty buckets of one implementation, and how to leave an upload open in one."""

    make: Callable[[bool], Bucket]
    begin_upload: Callable[[Bucket, str], None]
    dates_uploads: bool = True


def fake() -> Kind:
    return Kind(lambda versioned: FakeBucket(versioned=versioned), lambda bucket, key: bucket.begin_upload(key))


def s3(client, *, dates_uploads: bool) -> Kind:
    def make(versioned: bool) -> S3Bucket:
        name = next(names)
        if versioned:
            make_bucket(client, name)
        else:
            client.create_bucket(Bucket=name)
        return S3Bucket(client, name, part_size=5 * MIB, page_size=PAGE)

    def begin_upload(bucket: S3Bucket, key: str) -> None:
        client.create_multipart_upload(Bucket=bucket.name, Key=key)

    return Kind(make, begin_upload, dates_uploads)


@pytest.fixture(scope="module", params=["fake", "moto", "minio"])
def kind(request, tmp_path_factory) -> Iterator[Kind]:
    if request.param == "fake":
        yield fake()
        return
    home = Home(tmp_path_factory.mktemp(request.param))
    store = Embedded(home) if request.param == "moto" else MinIO(home, receiver="http://127.0.0.1:9/", token="t")
    with contextlib.ExitStack() as stack:
        stack.callback(store.stop)
        connected = store.start()
        stack.callback(connected.drop.client.close)
        # moto dates every upload 2010, so that none of them ever counts as young.
        yield s3(connected.drop.client, dates_uploads=request.param != "moto")


@pytest.fixture(params=[True, False], ids=["versioned", "unversioned"])
def bucket(kind, request) -> Bucket:
    return kind.make(request.param)


@pytest.fixture
def versioned(kind) -> Bucket:
    return kind.make(True)


@pytest.fixture
def unversioned(kind) -> Bucket:
    return kind.make(False)


def only(bucket: Bucket, key: str) -> StoredObject:
    [item] = [item for item in bucket.list(key) if item.key == key]
    return item


def test_a_listing_says_key_size_and_when_sorted_by_key(bucket):
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 dates to the second
    for key in ("m/v/b", "m/v/a/c", "m/v/a.c", "other/v/a"):
        bucket.put(key, key.encode())
    listed = bucket.list("m/v/")
    assert [(item.key, item.size) for item in listed] == [("m/v/a.c", 7), ("m/v/a/c", 7), ("m/v/b", 5)]
    assert all(before <= item.modified <= datetime.now(UTC) + timedelta(seconds=2) for item in listed)
    assert all(item.etag and '"' not in item.etag for item in listed)


def test_a_versioned_listing_names_versions_and_an_unversioned_one_does_not(versioned, unversioned):
    versioned.put("k", b"1")
    unversioned.put("k", b"1")
    assert only(versioned, "k").version_id
    assert only(unversioned, "k").version_id == ""


def test_a_listing_has_the_current_version_only(bucket):
    bucket.put("k", b"old")
    bucket.put("k", b"newer")
    assert [(item.key, item.size) for item in bucket.list()] == [("k", 5)]


def test_an_empty_bucket_or_prefix_lists_nothing(bucket):
    assert list(bucket.list()) == []
    bucket.put("a/b/c", b"")
    assert list(bucket.list("a/c/")) == []


def test_a_replaced_object_is_still_read_as_it_was_listed_where_versions_are_kept(versioned):
    versioned.put("k", b"old bytes")
    listed = only(versioned, "k")
    versioned.put("k", b"new")
    assert versioned.read(listed, 0, 100) == b"old bytes"
    assert b"".join(versioned.stream(listed)) == b"old bytes"


def test_a_replaced_object_is_gone_where_no_versions_are_kept(unversioned):
    unversioned.put("k", b"old bytes")
    listed = only(unversioned, "k")
    unversioned.put("k", b"new")
    with pytest.raises(Gone):
        unversioned.read(listed, 0, 100)
    with pytest.raises(Gone):
        list(unversioned.stream(listed))


def test_a_deleted_object_leaves_the_listing_and_its_version_stays(versioned):
    versioned.put("k", b"bytes")
    listed = only(versioned, "k")
    versioned.delete(["k"])
    assert list(versioned.list()) == []
    assert versioned.get("k") is None
    assert versioned.read(listed, 0, 5) == b"bytes"


def test_a_deleted_object_is_gone_where_no_versions_are_kept(unversioned):
    unversioned.put("k", b"bytes")
    listed = only(unversioned, "k")
    unversioned.delete(["k"])
    assert list(unversioned.list()) == []
    with pytest.raises(Gone):
        unversioned.read(listed, 0, 5)


def test_deleting_what_is_not_there_is_no_error(bucket):
    bucket.delete(["never", "there"])
    bucket.delete([])
    assert list(bucket.list()) == []


def test_a_version_that_never_was_is_gone(versioned):
    versioned.put("k", b"bytes")
    versioned.put("l", b"bytes")
    with pytest.raises(Gone):
        versioned.read(replace(only(versioned, "k"), version_id=only(versioned, "l").version_id), 0, 5)


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 4, b"0123"),
        (3, 4, b"3456"),
        (8, 100, b"89"),
        (0, 10, b"0123456789"),
        (10, 1, b""),
        (99, 5, b""),
        (4, 0, b""),
    ],
)
def test_a_range_is_read_as_far_as_there_are_bytes(bucket, start, length, expected):
    bucket.put("k", b"0123456789")
    assert bucket.read(only(bucket, "k"), start, length) == expected


def test_an_empty_object_can_be_read_and_streamed(bucket):
    bucket.put("k", b"")
    assert bucket.read(only(bucket, "k"), 0, 10) == b""
    assert b"".join(bucket.stream(only(bucket, "k"))) == b""
    assert bucket.get("k") == b""


def test_a_stream_comes_in_blocks_of_at_most_a_mib(bucket):
    body = bytes(range(256)) * 4096 * 2 + b"rest"
    bucket.put("k", body)
    blocks = list(bucket.stream(only(bucket, "k")))
    assert b"".join(blocks) == body
    assert max(map(len, blocks)) <= MIB


def test_get_returns_the_current_bytes_and_none_where_there_is_no_object(bucket):
    assert bucket.get("k") is None
    bucket.put("k", b"old")
    bucket.put("k", b"new", "text/plain")
    assert bucket.get("k") == b"new"


def test_an_object_written_from_three_parts_reads_as_one(bucket):
    parts = [b"a" * (5 * MIB), b"b" * (5 * MIB), b"c"]
    bucket.put_parts("k", iter(parts))
    item = only(bucket, "k")
    assert item.size == 10 * MIB + 1
    assert bucket.read(item, 5 * MIB - 1, 2) == b"ab"
    assert bucket.read(item, 10 * MIB - 1, 9) == b"bc"
    assert b"".join(bucket.stream(item)) == b"".join(parts)


@pytest.mark.parametrize("parts", [[], [b""], [b"only"], [b"f" * (5 * MIB)]], ids=["none", "empty", "short", "full"])
def test_an_object_written_from_one_part_or_none_reads_as_that(bucket, parts):
    bucket.put_parts("k", iter(parts))
    assert bucket.get("k") == b"".join(parts)


def test_parts_that_fail_leave_no_object_and_no_open_upload(bucket):
    def failing() -> Iterator[bytes]:
        yield b"a" * (5 * MIB)
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        bucket.put_parts("k", failing())
    assert bucket.get("k") is None
    assert list(bucket.open_uploads(["k"])) == []


def test_an_open_upload_is_seen_by_its_exact_key_and_is_no_object(kind, bucket):
    kind.begin_upload(bucket, "m/v/model.mar")
    [(key, begun)] = bucket.open_uploads(["m/v/model.mar", "m/v/model.ma", "m/v/other"])
    assert key == "m/v/model.mar"
    assert not kind.dates_uploads or abs(begun - datetime.now(UTC)) < timedelta(minutes=1)
    assert list(bucket.list()) == []


def test_no_open_upload_is_seen_where_none_is(bucket):
    bucket.put("m/v/model.mar", b"whole")
    assert list(bucket.open_uploads(["m/v/model.mar", "m/v/"])) == []


STRANGE = ["a b+c/ü/ß%20&=?#", "m/v/日本語 модель.mar", "m/v/+plus", "m/v/%2F", "m/v/'quoted\"", "m/v/~tilde*"]


@pytest.mark.parametrize("key", STRANGE)
def test_strange_keys_go_through_unchanged(kind, bucket, key):
    bucket.put(key, quote(key).encode())
    assert [item.key for item in bucket.list()] == [key]
    assert [item.key for item in bucket.list(key[:4])] == [key]
    assert bucket.read(only(bucket, key), 0, 999) == bucket.get(key) == quote(key).encode()
    kind.begin_upload(bucket, key)
    assert [k for k, _ in bucket.open_uploads([key])] == [key]
    bucket.delete([key])
    assert list(bucket.list()) == []


def test_a_listing_of_many_pages_is_whole_and_can_be_deleted(bucket):
    keys = [f"many/{n:05}" for n in range(4 * PAGE + 1)]
    for key in keys:
        bucket.put(key, b"")
    for _ in range(2 * PAGE):
        bucket.put(keys[0], b"again")  # pages full of old versions must not cost a key its place
    bucket.put("n", b"")
    assert [item.key for item in bucket.list("many/")] == keys
    bucket.delete(keys)
    assert [item.key for item in bucket.list()] == ["n"]
