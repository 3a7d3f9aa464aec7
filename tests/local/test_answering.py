"""What one machine's own wake-ups do."""

from datetime import timedelta

from chalicelib.domain.hooks import Action, Form
from chalicelib.local.answering import FORGET, answer
from chalicelib.pipeline.hook_calls import receive
from chalicelib.pipeline.hooks import make_hook
from chalicelib.pipeline.records import Records, TakenCall
from tests.api_caller import stepping
from tests.fakes_pipeline import fake_ports
from tests.hook_calls import SECRET, asks, standard


def test_calls_that_may_be_forgotten_are_once_a_day():
    ports = fake_ports()
    stepping(ports, "digits/1")
    make_hook("ci", ports, form=Form.STANDARD, actions=[*Action], endpoints=["digits"], secret=SECRET)
    receive("ci", standard(asks("promote"), ports.clock()), ports)
    for days, left in ((89, 1), (2, 0)):
        ports.clock.tick(days=days)
        ports.timers.due.clear()
        answer(FORGET, ports)
        assert len(Records(ports.registry).list(TakenCall)) == left
        assert ports.timers.due == {FORGET: ports.clock() + timedelta(days=1)}
