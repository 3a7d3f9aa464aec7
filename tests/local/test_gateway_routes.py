"""The gateway's view of the registry: soon as new as the registry, and never half of it."""

from dataclasses import replace
from datetime import UTC, datetime

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.split import Split
from chalicelib.local.gateway.routes import Routes
from chalicelib.pipeline.keys import make_key
from chalicelib.pipeline.records import Records, Stored
from tests.fakes_registry import FakeRegistry
from tests.local.gateway_world import World, predict, until


def write(registry, name, weights):
    stored = Records(registry).endpoint(name) or Stored(name, Endpoint(name, "m"))
    registry.commit([replace(stored, value=replace(stored.value, split=Split(weights))).write])


def test_a_refresh_shows_one_endpoint_as_it_is_now():
    registry = FakeRegistry()
    routes = Routes(registry)
    write(registry, "a", {"v1": 100})
    write(registry, "b", {"v1": 100})
    assert routes.endpoint("a") is None
    routes.refresh("a")
    assert routes.endpoint("a").split.weights == {"v1": 100}
    assert routes.endpoint("b") is None


def test_a_reload_shows_all_and_parses_only_what_changed():
    registry = FakeRegistry()
    routes = Routes(registry)
    write(registry, "a", {"v1": 100})
    write(registry, "b", {"v1": 100})
    routes.reload()
    before = routes.endpoint("a"), routes.endpoint("b")
    write(registry, "b", {"v1": 50, "v2": 50})
    routes.reload()
    assert routes.endpoint("a") is before[0]
    assert routes.endpoint("b").split.weights == {"v1": 50, "v2": 50}


def test_what_was_deleted_is_gone():
    registry = FakeRegistry()
    routes = Routes(registry)
    write(registry, "a", {"v1": 100})
    routes.reload()
    registry.commit([replace(Records(registry).endpoint("a").write, body=None)])
    routes.refresh("a")
    assert routes.endpoint("a") is None


def test_keys_are_found_by_their_hash():
    registry = FakeRegistry()
    routes = Routes(registry)
    key, _ = make_key(registry, lambda: datetime.now(UTC), name="n", scopes=["admin"])
    routes.refresh(key.id)
    assert routes.key(key.sha256) == key
    assert routes.key(key.id) is None


def test_a_commit_is_seen_without_a_refresh():
    world = World()
    world.add_replica("v1")
    client = world.client("predict:late")
    assert predict(client, name="late").status_code == 404
    write(world.registry, "late", {"v1": 100})
    until(lambda: predict(client, name="late").status_code == 200)
    world.close()


def test_a_registry_that_fails_for_a_while_stops_nobody():
    class Flaky(FakeRegistry):
        broken = False
        failures = 0

        def list(self, kind, prefix=""):
            if self.broken:
                self.failures += 1
                raise OSError("disk")
            return super().list(kind, prefix)

    registry = Flaky()
    world = World(registry=registry)
    world.registry = registry
    world.add_replica("v1")
    world.set_split({"v1": 100})
    client = world.client("predict:digits")
    registry.broken = True
    until(lambda: registry.failures > 0)
    assert predict(client).status_code == 200
    registry.broken = False
    write(registry, "digits", {})
    until(lambda: predict(client).status_code == 503)
    world.close()
