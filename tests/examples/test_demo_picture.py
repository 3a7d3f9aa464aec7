import numpy as np
import pytest
from load import Answer
from picture import Asked, Moment, Scene, draw, save, series

NAMES = {"v1": "v1 · PyTorch", "v2": "v2 · Keras"}


def answer(at, version="v1", **changes):
    return Answer(**{"at": at, "seconds": 0.01, "status": 200, "version": version, "truth": 1, "digit": 1} | changes)


def test_shares_of_a_second_are_of_the_requests_that_somebody_answered():
    drawn = series([answer(0.1), answer(0.2), answer(0.3), answer(0.9, "v2"), answer(0.95, "", status=0)])
    assert {v: list(share) for v, share in drawn.shares.items()} == {"v1": [0.75], "v2": [0.25]}
    assert list(drawn.failed) == [0.2]


def test_a_second_without_requests_is_a_gap_and_not_a_zero():
    drawn = series([answer(0.5), answer(2.5)])
    assert list(drawn.edges) == [0, 1, 2, 3]
    assert np.isnan(drawn.shares["v1"][1])
    assert np.isnan(drawn.failed[1])


def test_answers_with_nan_are_counted_apart_from_failed_requests():
    drawn = series([answer(0.1, nonfinite=True), answer(0.2), answer(0.3, status=503), answer(0.4)])
    assert (drawn.nonfinite[0], drawn.failed[0]) == (0.25, 0.25)


def test_latency_is_each_versions_own():
    drawn = series([answer(0.1), answer(0.2, "v2", seconds=0.2), answer(1.5)])
    assert drawn.p95_ms["v1"] == pytest.approx([10, 10])
    assert drawn.p95_ms["v2"] == pytest.approx([200, np.nan], nan_ok=True)


def test_the_picture_is_written_twice_and_names_what_happened(tmp_path):
    answers = [answer(i / 20, "v2" if i > 60 else "v1", nonfinite=i == 70) for i in range(120)]
    scene = Scene(
        answers=answers,
        moments=[Moment(1.0, "v2 dropped", is_drop=True), Moment(3.5, "v2 promoted")],
        splits=[Asked(0, {"v1": 100}), Asked(3, {"v1": 50, "v2": 50}), Asked(3.5, {"v2": 100})],
        names=NAMES,
        headline="v2 promoted: 0 of 120 requests failed",
    )
    png, svg = save(draw(scene), tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    for said in ("v2 dropped", "v2 promoted", "v1 · PyTorch", "v2 · Keras", "0 of 120 requests failed", "50 %"):
        assert f"<!-- {said}" in text or said in text


def test_a_picture_of_one_request_can_be_drawn(tmp_path):
    scene = Scene([answer(0.0, "", status=0)], moments=[], splits=[], names={}, headline="nothing answered")
    assert all(path.is_file() for path in save(draw(scene), tmp_path))
