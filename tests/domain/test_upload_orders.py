"""Files of an export arrive in any order; only the whole is accepted, and every order is tried."""

from itertools import combinations, permutations

import pytest

from chalicelib.domain.findings import Verdict
from tests.domain.uploads import codes, folder, judged

KERAS = {
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
}


@pytest.fixture(scope="module")
def export(saved_models):
    return folder(saved_models / "keras")


def test_a_plain_keras_export_has_the_four_files_whose_orders_are_tried(export):
    assert set(export) == KERAS


@pytest.mark.parametrize("order", list(permutations(sorted(KERAS))), ids=lambda order: " ".join(p[-5:] for p in order))
def test_in_every_order_an_export_is_accepted_when_the_last_needed_file_is_there_and_never_before(export, order):
    needed = KERAS - {"fingerprint.pb"}
    for n in range(len(order) + 1):
        arrived = {path: export[path] for path in order[:n]}
        report = judged(arrived)
        assert (report.verdict is Verdict.ACCEPT) == (needed <= set(arrived)), report
        assert report.verdict is not Verdict.REJECT
        assert bool(report.missing) == (report.verdict is Verdict.INCOMPLETE)


def test_what_is_missing_is_named(export):
    for gone in KERAS - {"fingerprint.pb", "saved_model.pb"}:
        missing = judged({p: b for p, b in export.items() if p != gone}).missing
        assert any(gone[: gone.find("-of-")] in m or "variables.data-" in m for m in missing)
    assert judged({p: b for p, b in export.items() if p != "saved_model.pb"}).missing == (
        "an artifact: saved_model.pb, model.mar, score.py or predictor.py",
    )


@pytest.mark.parametrize("name", ["sharded", "vocabulary", "tf1"])
def test_with_shards_or_assets_no_subset_but_the_whole_is_accepted(saved_models, name):
    whole = folder(saved_models / name)
    needed = set(whole) - {"fingerprint.pb"}
    for n in range(len(whole) + 1):
        for paths in combinations(sorted(whole), n):
            report = judged({p: whole[p] for p in paths})
            expected = Verdict.ACCEPT if needed <= set(paths) else Verdict.INCOMPLETE
            assert report.verdict is expected, (paths, report)


def test_a_shard_of_an_older_export_that_is_shorter_is_awaited(export):
    shard = "variables/variables.data-00000-of-00001"
    report = judged(export | {shard: export[shard][:10]})
    assert report.verdict is Verdict.INCOMPLETE
    assert report.missing == (f"{shard} (it has 10 of {len(export[shard])} bytes)",)


def test_a_shard_longer_than_its_index_says_is_rejected(export):
    shard = "variables/variables.data-00000-of-00001"
    assert codes(judged(export | {shard: export[shard] + b"x"})) == ["shard_too_long"]
