"""One suite for all that asks on the public path who answers: a split in memory, and HTTPS to a real gateway."""

import json

import pytest

from chalicelib.domain.proof import Served, to_ask
from chalicelib.domain.split import Split
from chalicelib.local.proving import HttpsProber
from tests.fakes_pipeline import FakeProber
from tests.local.gateway_world import World

DIGESTS = {"v1": "sha256:" + "1" * 64, "v2": "sha256:" + "2" * 64}
SALT = "r1"


class InMemory:
    def __init__(self):
        self.prober = FakeProber()

    def serve(self, weights, *, silent=()):
        served = {name: Served(name, DIGESTS[name]) for name in weights if name not in silent}
        self.prober.splits["digits"] = (Split(weights, SALT), served)

    def close(self):
        """Nothing is open."""


class OverHttps:
    def __init__(self, folder):
        self.world = World()
        self.replicas = {name: self.world.add_replica(name) for name in DIGESTS}
        for name, digest in DIGESTS.items():
            self.replicas[name].digest = digest
        connection = folder / "connection.json"
        connection.write_text(json.dumps({"ca": str(self.world.ca), "key": self.world.key("admin")}))
        self.prober = HttpsProber(connection, lambda: self.world.url)

    def serve(self, weights, *, silent=()):
        self.world.set_split(weights, salt=SALT)
        for name in silent:
            self.world.replicas.pop(name)

    def close(self):
        self.prober.close()
        self.world.close()


@pytest.fixture(params=["memory", "https"])
def place(request, tmp_path):
    made = InMemory() if request.param == "memory" else OverHttps(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("weights", [{"v1": 100}, {"v1": 95, "v2": 5}, {"v1": 0, "v2": 100}])
def test_each_key_is_answered_by_whom_the_split_says_with_its_own_digest(place, weights):
    place.serve(weights)
    asked = to_ask(Split(weights, SALT))
    answers = place.prober.ask("digits", [each.key for each in asked])
    assert answers == {each.key: Served(each.deployment, DIGESTS[each.deployment]) for each in asked}


def test_a_key_that_nobody_answers_is_left_out_and_the_others_are_there(place):
    weights = {"v1": 50, "v2": 50}
    place.serve(weights, silent=("v2",))
    answers = place.prober.ask("digits", [each.key for each in to_ask(Split(weights, SALT))])
    assert {served.deployment for served in answers.values()} == {"v1"}


def test_an_endpoint_that_is_not_there_answers_nobody(place):
    assert place.prober.ask("nobody", ["k"]) == {}
