"""Send what the outbox holds: at least once, with stable ids; what isn't sent stays for the next wake-up."""

from chalicelib.pipeline.ports import Ports


def announce(ports: Ports) -> None:
    """Publish every unsent transition in order and mark it as sent."""
    while waiting := ports.registry.unsent():
        ports.bus.publish(waiting)
        ports.registry.mark_sent([t.id for t in waiting])
