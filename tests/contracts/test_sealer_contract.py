"""What every Sealer does: the one that streams over any buckets, and the one that has S3 copy."""

import hashlib
from dataclasses import replace

import boto3
import pytest
from moto import mock_aws

from chalicelib.adapters.s3 import S3Bucket, make_bucket
from chalicelib.adapters.s3_copy import CopyingSealer
from chalicelib.domain.errors import Rejected
from chalicelib.domain.version import file_digest
from chalicelib.pipeline.ports import Gone
from chalicelib.pipeline.sealing import StreamingSealer
from tests.fakes import FakeBucket

PART = 5 * 2**20  # the least that S3 takes
LARGE = bytes(range(256)) * (PART // 256) + b"and a second part"


@pytest.fixture(params=["in memory", "streaming on S3", "copying on S3"])
def sealer(request, monkeypatch):
    if request.param == "in memory":
        yield StreamingSealer(FakeBucket(), FakeBucket(), PART)
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        drop, store = (replace(make_bucket(client, name), part_size=PART) for name in ("the-drop", "the-store"))
        yield (StreamingSealer if request.param.startswith("streaming") else CopyingSealer)(drop, store, PART)


def dropped(sealer, body: bytes, key: str = "m/v1/a b+ü.bin"):
    sealer.drop.put(key, body)
    return next(o for o in sealer.drop.list() if o.key == key)


@pytest.mark.parametrize("body", [b"", b"weights", LARGE], ids=["empty", "small", "two parts"])
def test_the_copy_is_the_same_and_its_digest_is_the_composite_one(sealer, body):
    digest = sealer.copy(dropped(sealer, body), "m/v1/attempt/a", sha256=hashlib.sha256(body).hexdigest())
    parts = [body[at : at + PART] for at in range(0, len(body) or 1, PART)]
    assert digest == file_digest(hashlib.sha256(part).digest() for part in parts)
    assert sealer.store.get("m/v1/attempt/a") == body


def test_another_hash_than_the_promised_one_is_refused_with_both(sealer):
    with pytest.raises(Rejected, match=f"SHA-256 {hashlib.sha256(b'weights').hexdigest()}, but .* says 00ff"):
        sealer.copy(dropped(sealer, b"weights"), "m/v1/attempt/a", sha256="00ff")


def test_what_is_copied_is_what_was_listed_even_when_it_was_replaced_since(sealer):
    item = dropped(sealer, b"judged")
    sealer.drop.put(item.key, b"swapped")
    try:
        digest = sealer.copy(item, "m/v1/attempt/a")
    except Gone:
        return
    assert digest == hashlib.sha256(b"judged").hexdigest()
    assert sealer.store.get("m/v1/attempt/a") == b"judged"


def test_what_is_no_longer_there_is_gone(sealer):
    item = replace(dropped(sealer, b"x"), key="m/v1/never", etag="0" * 32)
    with pytest.raises(Gone):
        sealer.copy(item, "m/v1/attempt/a")


def test_what_is_released_may_be_released_again(sealer):
    items = [dropped(sealer, b"x", "m/v1/a"), dropped(sealer, b"y", "m/v1/b")]
    sealer.release(items)
    sealer.release(items)
    assert sealer.drop.list() == items


@mock_aws
def test_released_objects_carry_our_tag_beside_their_own_and_a_full_one_stays_as_it_is(monkeypatch):
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    sealer = CopyingSealer(make_bucket(client, "the-drop"), make_bucket(client, "the-store"))
    items = [dropped(sealer, b"x", key) for key in ("m/v1/few", "m/v1/full")]
    for item, count in zip(items, (1, 10), strict=True):
        tags = {"TagSet": [{"Key": f"k{n}", "Value": "v"} for n in range(count)]}
        client.put_object_tagging(Bucket="the-drop", Key=item.key, Tagging=tags)
    sealer.release([*items, replace(items[0], key="m/v1/gone")])
    found = [client.get_object_tagging(Bucket="the-drop", Key=i.key)["TagSet"] for i in items]
    assert [len(tags) for tags in found] == [2, 10]
    assert {"Key": "modeldrop:sealed", "Value": "true"} in found[0]


@mock_aws
def test_a_drop_without_versions_is_refused_since_copies_could_not_name_what_was_judged():
    client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    client.create_bucket(Bucket="plain")
    sealer = CopyingSealer(S3Bucket(client, "plain"), make_bucket(client, "the-store"))
    with pytest.raises(Rejected, match="versioning"):
        sealer.copy(dropped(sealer, b"x"), "m/v1/attempt/a")
