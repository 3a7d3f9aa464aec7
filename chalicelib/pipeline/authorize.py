"""Authorize a caller of API Gateway: a secret becomes a policy.

The secret carries its key's id, so one consistent read finds it. API Gateway keeps the answer for at most 60 s (the
template says so): that is how long a revoked key may still be let in.
"""

import hmac
import re
from typing import Any

from chalicelib.domain.access_policy import policy_of
from chalicelib.pipeline.keys import admit, hash_of, secret_of
from chalicelib.pipeline.ports import Registry
from chalicelib.pipeline.records import ApiKey, Records

_SECRET = re.compile(r"md_([0-9a-f]{12})_[A-Za-z0-9_-]{1,100}")


def authorize(bearer: str, method_arn: str, registry: Registry) -> dict[str, Any]:
    """Return the policy of the key in an Authorization header, for the API whose method was called. Raises Denied."""
    key = admit(_kept(secret_of(bearer), registry))
    return policy_of(key.id, key.scopes, method_arn)


def _kept(secret: str, registry: Registry) -> ApiKey | None:
    found = _SECRET.fullmatch(secret)
    stored = Records(registry).get(ApiKey, found[1]) if found else None
    # In constant time, so that nobody learns a hash by asking often.
    return stored.value if stored and hmac.compare_digest(stored.value.sha256, hash_of(secret)) else None
