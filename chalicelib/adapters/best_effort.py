"""Side effects that must not fail what they accompany: a prediction isn't lost because its count was."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

from botocore.exceptions import BotoCoreError, ClientError

P = ParamSpec("P")
_log = logging.getLogger(__name__)


def best_effort(act: Callable[P, None], what: str) -> Callable[P, None]:
    """Return the same act, which logs and forgets what AWS or the network refuses; a bug of ours still raises."""

    @functools.wraps(act)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            act(*args, **kwargs)
        except (BotoCoreError, ClientError):
            _log.warning("%s failed and is left out", what, exc_info=True)

    return attempt
