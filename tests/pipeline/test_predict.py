"""Predict decides who answers, counts what the judge reads, and wakes the rollout when its canary fails."""

import pytest

from chalicelib.domain.errors import NotFound
from chalicelib.domain.invocation import BUDGET, Busy, NoAnswer, TimedOut, TooLarge
from chalicelib.domain.rollout import Phase
from chalicelib.domain.shadow import DROPPED, LARGE, LARGEST, Shadow, Shadowing
from chalicelib.pipeline.predict import MAX_BODY, SPLIT_TTL, RateExceeded, Request
from tests.predict_world import PredictWorld, reply

CANARY, STABLE = 0.0, 0.999  # chances


@pytest.fixture
def world():
    return PredictWorld()


@pytest.fixture
def rolling(world):
    """v2 has half of the traffic in an open rollout."""
    world.open_rollout()
    return world


def ask(world, key="", name="digits"):
    """Return the deployment that answered."""
    answer = world.predictor.predict(Request(name, b"{}", "id-1", "application/json", key=key))
    return answer.headers["X-Modeldrop-Deployment"]


def after(world, seconds, outcome):
    """Return an answer that takes its time: a Reply or an error."""

    def act(_):
        world.now += seconds
        return outcome

    return act


# --- the split ---------------------------------------------------------------------------------------------------
def test_chance_decides_without_a_key(rolling):
    answered = []
    for rolling.chance in (0.0, 0.499, 0.5, 0.999):
        answered.append(ask(rolling))
    assert answered == ["v2", "v2", "v1", "v1"]


def test_a_key_stays_whatever_chance_says_and_on_every_instance(rolling):
    keys = [f"user-{n}" for n in range(40)]
    first = [ask(rolling, key) for key in keys]
    rolling.restart()
    rolling.chance = STABLE
    assert [ask(rolling, key) for key in keys] == first
    assert set(first) == {"v1", "v2"}


def test_a_new_split_is_followed_after_two_seconds_at_most(rolling):
    assert ask(rolling) == "v2"
    rolling.set_split({"v1": 100})
    rolling.now += SPLIT_TTL - 0.001
    assert ask(rolling) == "v2"
    rolling.now += 0.001
    assert ask(rolling) == "v1"


def test_a_split_that_is_read_slowly_is_no_younger_for_it(rolling):
    get, slow = rolling.ports.registry.get, 1.5

    def late(kind, id_):
        found = get(kind, id_)
        rolling.now += slow if kind == "endpoint" else 0
        return found

    rolling.ports.registry.get = late
    assert ask(rolling) == "v2"
    rolling.set_split({"v1": 100})
    rolling.now += SPLIT_TTL - slow
    slow = 0
    assert ask(rolling) == "v1"


def test_an_endpoint_that_was_just_made_is_found_at_once(world):
    with pytest.raises(NotFound, match="'late'"):
        ask(world, name="late")
    world.set_split({"v1": 100}, name="late")
    assert ask(world, name="late") == "v1"


# --- who stands in -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("problem", [NoAnswer("gone"), reply(b"x" * (MAX_BODY + 1))])
def test_stable_answers_for_a_canary_that_gives_no_answer_and_the_failure_is_the_canarys(rolling, problem):
    rolling.invoker.answers["v2"] = problem
    assert ask(rolling) == "v1"
    assert rolling.counted.seen == [("v2", 502, False), ("v1", 200, False)]


def test_nobody_stands_in_for_stable(rolling):
    rolling.chance = STABLE
    rolling.invoker.answers["v1"] = NoAnswer("gone")
    with pytest.raises(NoAnswer, match="gone"):
        ask(rolling)
    assert rolling.invoker.called == ["v1"]


def test_a_canary_that_takes_all_the_time_is_not_asked_for_elsewhere(rolling):
    rolling.invoker.answers["v2"] = after(rolling, BUDGET, TimedOut("late"))
    with pytest.raises(TimedOut):
        ask(rolling)
    assert rolling.invoker.called == ["v2"]
    assert rolling.counted.seen == [("v2", 504, False)]


@pytest.mark.parametrize(("taken", "left"), [(0.5, 25), (2, 24), (20, 6), (25, 1)])
def test_a_stand_in_gets_the_time_that_is_left(rolling, taken, left):
    rolling.invoker.answers["v2"] = after(rolling, taken, NoAnswer("gone"))
    assert ask(rolling) == "v1"
    assert [seconds for _, _, seconds in rolling.invoker.calls] == [BUDGET, left]


def test_a_stand_in_is_not_asked_when_too_little_time_is_left(rolling):
    rolling.invoker.answers["v2"] = after(rolling, 25.5, NoAnswer("gone"))
    with pytest.raises(NoAnswer):
        ask(rolling)
    assert rolling.invoker.called == ["v2"]


@pytest.mark.parametrize("status", [400, 500, 503])
def test_an_answer_is_an_answer_and_isn_t_repeated(rolling, status):
    rolling.invoker.answers["v2"] = reply(status=status)
    assert ask(rolling) == "v2"
    assert rolling.invoker.called == ["v2"]


def test_a_cloud_that_takes_no_more_calls_is_nobodys_failure(rolling):
    rolling.invoker.answers["v2"] = Busy("wait")
    with pytest.raises(Busy):
        ask(rolling)
    assert rolling.counted.seen == []
    assert rolling.woken == []


def test_an_answer_too_large_of_stable_is_refused_and_counted(rolling):
    rolling.chance = STABLE
    rolling.invoker.answers["v1"] = reply(b"x" * (MAX_BODY + 1))
    with pytest.raises(TooLarge, match=str(MAX_BODY)):
        ask(rolling)
    assert rolling.counted.seen == [("v1", 502, False)]


# --- evidence ----------------------------------------------------------------------------------------------------
def test_both_sides_are_counted_while_a_rollout_is_open(rolling):
    rolling.invoker.answers["v2"] = after(rolling, 0.25, reply(nonfinite="2"))
    rolling.invoker.answers["v1"] = reply(status=404)
    ask(rolling)
    rolling.chance = STABLE
    ask(rolling)
    assert rolling.counted.seen == [("v2", 200, True), ("v1", 404, False)]
    assert rolling.counted.milliseconds == pytest.approx([250, 0])


def test_what_nobody_judges_is_tallied_for_the_rate_in_one_write_in_ten_seconds(world):
    for _ in range(8):
        ask(world)
        world.now += 4
    assert world.counted.unjudged == [("v1", 1), ("v1", 3), ("v1", 3)]
    assert world.counted.seen == []


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.ROLLED_BACK])
def test_nothing_is_counted_or_woken_once_the_rollout_has_ended(world, phase):
    world.open_rollout(phase=phase)
    world.invoker.answers["v2"] = reply(status=500)
    ask(world)
    assert (world.counted.seen, world.woken) == ([], [])


@pytest.mark.parametrize("answer", [reply(status=500), reply(nonfinite="1"), NoAnswer("gone")])
def test_a_failed_canary_wakes_its_rollout_after_it_was_counted(rolling, answer):
    rolling.invoker.answers["v2"] = answer
    counted_before = []
    rolling.woken = _Waking(lambda: counted_before.append(len(rolling.counted.seen)))
    rolling.restart()
    ask(rolling)
    assert rolling.woken == ["digits"]
    assert counted_before == [1]


class _Waking(list):
    def __init__(self, when):
        super().__init__()
        self._when = when

    def append(self, endpoint):
        self._when()
        super().append(endpoint)


def test_the_rollout_is_woken_at_most_once_a_second_by_one_instance(rolling):
    rolling.invoker.answers["v2"] = reply(status=500)
    for _ in range(30):
        ask(rolling)
        rolling.now += 0.1
    assert len(rolling.woken) == 3


def test_stables_failures_and_callers_mistakes_wake_nobody(rolling):
    rolling.invoker.answers["v2"] = reply(status=400)
    ask(rolling)
    rolling.chance = STABLE
    rolling.invoker.answers["v1"] = reply(status=500)
    ask(rolling)
    assert rolling.woken == []
    assert len(rolling.counted.seen) == 2


# --- rates -------------------------------------------------------------------------------------------------------
def passed(world, times):
    count = 0
    for _ in range(times):
        try:
            ask(world)
        except RateExceeded:
            continue
        count += 1
    return count


def test_an_endpoint_takes_what_the_platform_says_and_not_more():
    world = PredictWorld(rate=5)
    assert passed(world, 20) == 5
    world.now += 1
    assert passed(world, 20) == 5
    assert len(world.invoker.calls) == 10


def test_each_endpoint_has_a_bucket_of_its_own():
    world = PredictWorld(rate=1)
    world.set_split({"v1": 100}, name="other")
    assert passed(world, 3) == 1
    assert ask(world, name="other") == "v1"


def test_an_operators_rate_goes_before_the_platforms_after_two_seconds_at_most():
    world = PredictWorld(rate=1)
    assert passed(world, 5) == 1
    world.set_split({"v1": 100}, rate=10.0)
    world.now += SPLIT_TTL
    assert passed(world, 50) == 10


def test_what_is_refused_says_when_to_come_again():
    world = PredictWorld(rate=0.5)
    ask(world)
    with pytest.raises(RateExceeded, match=r"takes 0\.5 requests a second") as refused:
        ask(world)
    world.now += refused.value.retry_after
    assert ask(world) == "v1"


def test_without_a_rate_all_pass(world):
    assert passed(world, 500) == 500


# --- who is asked for by name ------------------------------------------------------------------------------------
def asked_for(world, **who):
    return world.predictor.predict(Request("digits", b"{}", "id-1", "application/json", **who))


def test_a_deployment_without_a_share_answers_who_asks_for_it(world):
    world.set_split({"v1": 100, "v2": 0}, promoted="v1", aliases={"blue": "v2"})
    asked = [{"version": "v2"}, {"version": "digits/v2"}, {"alias": "blue"}, {"alias": "champion"}]
    answered = [asked_for(world, **who).headers["X-Modeldrop-Deployment"] for who in asked]
    assert answered == ["v2", "v2", "v2", "v1"]


def test_what_was_asked_for_by_name_is_no_sample_and_nobody_stands_in(rolling):
    assert asked_for(rolling, version="v2").status == 200
    rolling.invoker.answers["v2"] = NoAnswer("gone")
    with pytest.raises(NoAnswer, match="gone"):
        asked_for(rolling, version="v2")
    assert rolling.counted.seen == []
    assert rolling.woken == []


def test_a_name_that_means_nothing_is_not_found(world):
    with pytest.raises(NotFound, match="runs no version 'v9'; it runs digits/v1"):
        asked_for(world, version="v9")


# --- what answers are built of -----------------------------------------------------------------------------------
def test_of_each_deployment_an_answer_a_second_is_looked_at_while_a_rollout_is_open(rolling):
    for rolling.now in (1000.0, 1000.4, 1000.9, 1001.0):
        for rolling.chance in (CANARY, STABLE):
            ask(rolling)
    mark = "structure {predictions: n * number}"
    assert rolling.counted.marks == [("v2", mark), ("v1", mark)] * 2


def test_without_a_rollout_no_answer_is_looked_at(world):
    ask(world)
    assert world.counted.marks == []


def test_an_answer_that_says_nothing_of_its_form_is_not_marked(rolling):
    rolling.invoker.answers["v2"] = reply(b"\x89PNG", content_type="image/png")
    ask(rolling)
    assert rolling.counted.marks == []


# --- shadows -----------------------------------------------------------------------------------------------------
@pytest.fixture
def shadowed(world):
    """v2 is the shadow of v1, for half of the requests."""
    world.open_rollout(phase=Phase.SHADOWING)
    world.set_split({"v1": 100}, shadow=Shadowing("v2", "r1", Shadow(share=50)))
    world.restart()
    return world


def test_what_stable_answered_is_copied_for_the_share_and_nobody_waits_for_the_shadow(shadowed):
    for shadowed.chance in (0.0, 0.499, 0.5, 0.9):
        assert ask(shadowed) == "v1"
    assert shadowed.invoker.called == ["v1"] * 4
    sent = [(copy.id.partition("#")[0], copy.endpoint, copy.to.deployment, copy.live.status) for copy in shadowed.sent]
    assert sent == [("id-1", "digits", "v2", 200)] * 2


def test_a_copy_that_is_not_sent_in_time_is_counted(shadowed):
    shadowed.sends = False
    ask(shadowed)
    assert ("v2", DROPPED) in shadowed.counted.marks


def test_a_copy_that_is_too_large_is_not_sent_and_counted(shadowed):
    shadowed.invoker.answers["v1"] = reply(b'"' + b"x" * LARGEST + b'"')
    ask(shadowed)
    assert shadowed.sent == []
    assert ("v2", LARGE) in shadowed.counted.marks


def test_without_a_shadow_nothing_is_copied(rolling):
    ask(rolling)
    assert rolling.sent == []
