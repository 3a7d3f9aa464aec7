"""Requests that say who is to answer: by alias or by version, with or without a share of the split."""

import pytest

from chalicelib.domain.split import Split
from chalicelib.pipeline.records import Records
from tests.local.gateway_world import World, code_of, predict

VERSION, ALIAS = "X-Modeldrop-Version", "X-Modeldrop-Alias"


@pytest.fixture
def world():
    """v1 has all the traffic; v2 runs beside it without any."""
    world = World(upstream_timeout=1.0)
    for version in ("v1", "v2"):
        world.add_replica(version)
    world.set_split({"v1": 100, "v2": 0})
    change(world, promoted="v1", aliases={"blue": "v2"})
    yield world
    world.close()


def change(world, name="digits", **changes):
    stored = Records(world.registry).endpoint(name)
    world.registry.commit([stored.to(**changes).write])
    world.gateway.refresh(name)


def who(response):
    assert response.status_code == 200, response.text
    assert response.json()["served_by"]["version"] == response.headers["x-modeldrop-version"]
    return response.headers["x-modeldrop-version"]


def test_an_alias_is_answered_by_what_it_names_and_follows_it_at_once(world):
    client = world.client("predict:digits")
    assert [who(predict(client, **{ALIAS: alias})) for alias in ("champion", "blue")] == ["v1", "v2"]
    change(world, aliases={"blue": "v1"})
    assert who(predict(client, **{ALIAS: "blue"})) == "v1"


def test_a_dark_version_answers_who_has_its_scope_and_nobody_else(world):
    for scope in ("dark:digits", "dark:*", "admin"):
        assert who(predict(world.client(scope), **{VERSION: "v2"})) == "v2"
    for scopes in (("predict:digits",), ("predict:*", "deploy"), ("dark:faces",)):
        refused = predict(world.client(*scopes), **{VERSION: "v2"})
        assert (refused.status_code, code_of(refused)) == (403, "forbidden")
        assert "dark:digits" in refused.text


def test_who_would_answer_follows_the_same_names_and_scopes(world):
    path = "/v1/endpoints/digits/predict"
    tester, app = world.client("dark:digits"), world.client("predict:digits")
    for _ in range(5):
        asked = [tester.get(path, headers={VERSION: "v2"}), app.get(path, headers={ALIAS: "blue"}), app.get(path)]
        assert [answer.json()["deployment"] for answer in asked] == ["v2", "v2", "v1"]
    assert app.get(path, headers={VERSION: "v2"}).status_code == 403
    assert tester.get(path).status_code == 403


def test_the_scope_for_dark_versions_does_not_allow_what_the_split_decides(world):
    client = world.client("dark:digits")
    assert predict(client).status_code == 403
    assert predict(client, **{ALIAS: "blue"}).status_code == 403


def test_what_was_asked_for_by_name_never_counts_for_the_judge(world):
    client = world.client("dark:digits", "predict:digits")
    predict(client, **{VERSION: "v2"})
    predict(client, **{ALIAS: "blue"})
    assert world.traffic("v2").requests == 0
    assert world.gateway.counters.totals()["digits", "v2"][0].requests == 2


def test_nobody_stands_in_for_what_was_asked_for_and_its_failure_is_no_trouble(world):
    world.replicas["v2"].pop().close()
    refused = predict(world.client("dark:digits"), **{VERSION: "v2"})
    assert (refused.status_code, code_of(refused)) == (503, "no_answer")
    assert world.traffic("v2").errors == 0
    assert world.troubles == []


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({ALIAS: "green"}, 404, "there are champion, blue"),
        ({VERSION: "v9"}, 404, "it runs digits/v1, digits/v2"),
        ({ALIAS: "blue", VERSION: "v2"}, 400, "not both"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_what_there_is(world, headers, status, said):
    refused = predict(world.client("dark:digits", "predict:digits"), **headers)
    assert (refused.status_code, said in refused.text) == (status, True)


def test_a_first_version_can_be_called_before_it_has_traffic(world):
    world.add_replica("v7")
    world.set_split({"v7": 100}, name="new")
    change(world, "new", split=Split())
    client = world.client("dark:new", "predict:new")
    assert predict(client, name="new").status_code == 503
    assert who(predict(client, name="new", **{VERSION: "digits/v7"})) == "v7"
