"""Send what the outbox holds: at least once, with stable ids; what isn't sent stays for the next wake-up."""

from chalicelib.domain.transition import Transition
from chalicelib.pipeline.ports import Ports


def announce(ports: Ports) -> list[Transition]:
    """Publish every unsent transition in order, mark it as sent, and return what was published."""
    sent: list[Transition] = []
    while waiting := ports.registry.unsent():
        ports.bus.publish(waiting)
        ports.registry.mark_sent([t.id for t in waiting])
        sent += waiting
    return sent
