"""What is fetched from the model store is whole, right and read-only, or isn't there."""

import hashlib
import stat
from dataclasses import replace

import pytest

from chalicelib.domain.version import PART_SIZE, SealedFile, version_digest
from chalicelib.local.fleet.fetch import Abandoned, Unfit, fetch
from chalicelib.local.fleet.folders import remove
from tests.fakes import FakeBucket
from tests.local.fleet_support import stored


def wanted():
    return True


@pytest.fixture
def store():
    return FakeBucket()


def test_a_version_is_fetched_as_it_was_registered(store, tmp_path):
    fetch(store, stored(store, "x = 1"), tmp_path / "m" / "d", is_wanted=wanted)
    assert (tmp_path / "m" / "d" / "act.py").read_text() == "x = 1"
    assert stat.S_IMODE((tmp_path / "m" / "d" / "act.py").stat().st_mode) == 0o444
    assert stat.S_IMODE((tmp_path / "m" / "d").stat().st_mode) == 0o555


def test_what_was_there_before_is_replaced_and_can_be_removed(store, tmp_path):
    for act in ("x = 1", "x = 2"):
        fetch(store, stored(store, act), tmp_path / "d", is_wanted=wanted)
    assert (tmp_path / "d" / "act.py").read_text() == "x = 2"
    remove(tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def changed(store):
    store.put("digits/v1/d/weights.bin", b"others")


def added(store):
    store.put("digits/v1/d/more.py", b"")


def taken_away(store):
    store.delete(["digits/v1/d/weights.bin"])


def emptied(store):
    store.delete(["digits/v1/d/weights.bin", "digits/v1/d/act.py"])


def led_astray(store):
    store.put("digits/v1/d/../../act.py", b"")


@pytest.mark.parametrize("change", [changed, added, taken_away, emptied, led_astray])
def test_anything_else_than_what_was_registered_is_refused_and_leaves_nothing(store, tmp_path, change):
    deployment = stored(store)
    change(store)
    with pytest.raises(Unfit, match=r"model store"):
        fetch(store, deployment, tmp_path / "d", is_wanted=wanted)
    assert list(tmp_path.iterdir()) == []


def test_it_ends_when_the_deployment_is_no_longer_wanted(store, tmp_path):
    with pytest.raises(Abandoned):
        fetch(store, stored(store, "x = 1"), tmp_path / "d", is_wanted=lambda: False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_above_a_part_has_the_composite_digest_that_a_store_computes(store, tmp_path):
    weights = bytes(PART_SIZE + 1)
    parts = [hashlib.sha256(part).digest() for part in (bytes(PART_SIZE), bytes(1))]
    composite = hashlib.sha256(b"".join(parts)).hexdigest() + "-2"
    sealed = [SealedFile("act.py", 0, hashlib.sha256().hexdigest()), SealedFile("weights.bin", len(weights), composite)]
    deployment = replace(stored(store, weights=weights), digest=version_digest(sealed))
    fetch(store, deployment, tmp_path / "d", is_wanted=wanted)
    assert (tmp_path / "d" / "weights.bin").stat().st_size == len(weights)
