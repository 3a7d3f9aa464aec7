"""Which store a platform runs on."""

from chalicelib.local.options import UpOptions
from chalicelib.local.stores.embedded import Embedded
from chalicelib.local.stores.external import External
from chalicelib.local.stores.minio import MinIO
from chalicelib.local.stores.seam import Store


def choose_store(options: UpOptions, *, receiver: str, token: str) -> Store:
    """Return the store that was asked for, MinIO when none was; its events go to `receiver` with the token."""
    if options.s3_endpoint:
        return External(options.s3_endpoint)
    if options.store == "embedded":
        return Embedded(options.home, port=options.s3_port)
    return MinIO(options.home, receiver=receiver, token=token, port=options.s3_port)
