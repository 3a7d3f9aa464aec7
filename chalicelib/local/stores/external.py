"""Any other S3, by its URL: we start nothing, and compare listings where it has no events for us."""

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.adapters.s3 import S3Bucket, make_client
from chalicelib.domain.errors import Rejected
from chalicelib.local.stores.seam import DROP, MODEL_STORE, REGION, Connected
from chalicelib.local.stores.watch import ListingPoll

UNVERSIONED = "The bucket {} keeps no versions: an object replaced while it is read is read again from the start."


class External:
    """Two buckets of a store that runs already, with credentials from the environment or the AWS profile."""

    def __init__(
        self,
        endpoint: str,
        *,
        drop: str = DROP,
        store: str = MODEL_STORE,
        every: float = 10.0,
        region: str | None = None,
    ) -> None:
        self._endpoint, self._every, self._region = endpoint, every, region
        self._names = (drop, store)
        self._drop: S3Bucket | None = None

    def start(self) -> Connected:
        """Check that both buckets answer; raises Rejected when they don't."""
        client = make_client(self._endpoint, region=self._region)
        drop, store = (S3Bucket(client, name) for name in self._names)
        for bucket in (drop, store):
            self._check(bucket)
        self._drop = drop
        note = " ".join(UNVERSIONED.format(bucket.name) for bucket in (drop, store) if not bucket.versioned)
        return Connected(self._endpoint, drop, store, "", "", client.meta.region_name or REGION, note)

    def stop(self) -> None:
        self._drop = None

    def events(self) -> ListingPoll:
        """Return a poll of the drop's listings; raises Rejected before `start`."""
        if self._drop is None:
            raise Rejected("store: it has no events before it is connected; start it", code="store_stopped")
        return ListingPoll(self._drop, self._every)

    def _check(self, bucket: S3Bucket) -> None:
        try:
            bucket.client.head_bucket(Bucket=bucket.name)
        except (BotoCoreError, ClientError) as error:
            raise Rejected(
                f"store: no bucket {bucket.name!r} at {self._endpoint} for these credentials ({error}); check "
                f"AWS_PROFILE or AWS_ACCESS_KEY_ID, or make it: aws --endpoint-url {self._endpoint} s3 mb s3://{bucket.name}",
                code="no_bucket",
            ) from error
