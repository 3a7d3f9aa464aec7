"""Five versions, one after another, under a steady load: nobody sees a failed request."""

import pytest

from tests.fakes_artifacts import small_mar
from tests.platform_world import Load, platform, until

pytestmark = pytest.mark.alone

PACE = ("--step-time", "2", "--min-requests", "10", "--quiet-period", "0.5", "--keep-warm", "2")
VERSIONS = ("v1", "v2", "v3", "v4", "v5")


def test_thirty_requests_a_second_through_five_rollouts_never_fail(tmp_path):
    with platform(tmp_path / "home", *PACE) as running:
        running.drop("m/v1/", {"model.mar": small_mar()})
        running.await_phase("m", "v1", "promoted")
        bad = {"instances": 7}
        with (
            Load(running, "m", per_second=30) as load,
            Load(running, "m", per_second=5, callers=1, body=bad) as bad_load,
        ):
            for version in VERSIONS[1:]:
                running.drop(f"m/{version}/", {"model.mar": small_mar(), "README.md": version.encode()})
                running.await_phase("m", version, "promoted", 120)
        assert load.failed == []
        assert {a.version for a in load.answers} == set(VERSIONS)
        assert len(load.answers) > 200
        # What callers do wrong is told to them and never held against a canary.
        assert {a.status for a in bad_load.answers} == {400}


def test_a_replica_that_is_killed_under_load_fails_no_request_and_is_replaced(tmp_path):
    with platform(tmp_path / "home", *PACE) as running:
        running.drop("m/v1/", {"model.mar": small_mar(), "deploy.yaml": b"replicas: 2"})
        running.await_phase("m", "v1", "promoted")
        deployment = running.endpoint("m")["promoted"]
        with Load(running, "m", per_second=40) as load:
            until(lambda: len(load.answers) > 20, 30, "some answers")
            victim = next(c for c in running.children() if c.cmdline()[-2:] == ["-m", "modelserver"])
            victim.kill()
            until(lambda: running.endpoint("m")["deployments"][deployment]["restarts"] == 1, 30, "its restart")
            until(lambda: running.endpoint("m")["deployments"][deployment]["ready"] == 2, 30, "both replicas again")
        assert load.failed == []
