"""Find whatever an event failed to say: list the bucket and the records, and wake what isn't settled."""

from chalicelib.domain.deployment import Endpoint
from chalicelib.domain.upload import uploads
from chalicelib.pipeline.catalogue import outdated
from chalicelib.pipeline.first_rollouts import open_missing
from chalicelib.pipeline.ports import Ports
from chalicelib.pipeline.records import Drop, Records
from chalicelib.pipeline.tend import revive
from chalicelib.pipeline.wakeups import wake_catalogue, wake_endpoint, wake_upload


def re_sync(ports: Ports) -> None:
    """Wake every upload that isn't settled and every endpoint, and open rollouts that a crash left unopened."""
    for prefix in _unsettled(ports):
        wake_upload(prefix, ports)
    open_missing(ports)
    for ref in outdated(ports):
        wake_catalogue(ref, ports)
    for endpoint in Records(ports.registry).list(Endpoint):
        revive(endpoint.id, ports)
        wake_endpoint(endpoint.id, ports)


def _unsettled(ports: Ports) -> list[str]:
    """Return the uploads that aren't judged for good, or whose report isn't written: one listing tells."""
    known = {d.id: d.value for d in Records(ports.registry).list(Drop)}
    return [
        upload.prefix
        for upload in uploads(ports.drop.list())
        if not ((drop := known.get(upload.prefix)) and drop.reported and drop.settles(upload.fingerprint))
    ]
