"""The store of a one-machine platform, behind one seam: embedded (in memory), MinIO, or any other S3.

Each starts what it needs, gives two versioned buckets, and says in its own way that something in the drop changed.
"""

from chalicelib.local.stores.choice import choose_store
from chalicelib.local.stores.embedded import Embedded
from chalicelib.local.stores.external import External
from chalicelib.local.stores.minio import MinIO, find_minio
from chalicelib.local.stores.seam import Connected, Store
from chalicelib.local.stores.watch import Poll, Watcher, Webhook

__all__ = [
    "Connected",
    "Embedded",
    "External",
    "MinIO",
    "Poll",
    "Store",
    "Watcher",
    "Webhook",
    "choose_store",
    "find_minio",
]
