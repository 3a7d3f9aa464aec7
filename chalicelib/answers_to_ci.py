"""What the control API answers CI systems, as schemas: hooks, their calls, and signed uploads. See `answers`."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from chalicelib.domain.hooks import Action, Form, VersionFrom


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HookSecret(Answer):
    """A secret's id: the secret itself was shown once."""

    id: str
    created: datetime


class HookRuleShown(Answer):
    event: str
    action: Action
    endpoint: str
    model_id: str
    version_from: VersionFrom | None
    branch: str
    alias: str


class Hook(Answer):
    """What a hook is for. Up to two secrets are valid at a time; none once it was revoked."""

    name: str
    form: Form
    actions: list[Action]
    endpoints: list[str]
    rules: list[HookRuleShown]
    secrets: list[HookSecret]
    created: datetime
    revoked: datetime | None


class MadeHook(Hook):
    """The only answer that holds the new secret itself."""

    secret: str


class HookCalled(Answer):
    """What came of a call: accepted, or ignored for it asks for nothing."""

    outcome: Literal["accepted", "ignored"]
    action: Action | None
    endpoint: str | None
    rollout: str | None


class SignedRequest(Answer):
    """A request to send as it is: whoever has its URL may."""

    method: str
    url: str
    headers: dict[str, str]


class SignedPart(SignedRequest):
    """Which bytes of a file the request takes."""

    offset: int
    length: int


class SignedFile(Answer):
    """One file's requests. If there is a `complete`, its body lists the parts' ETags as S3 wants them."""

    path: str
    parts: list[SignedPart]
    complete: SignedRequest | None


class SignedManifest(SignedRequest):
    body: str


class SignedUpload(Answer):
    """The requests of an upload; the manifest's goes last."""

    model_id: str
    version_id: str
    expires: datetime
    files: list[SignedFile]
    manifest: SignedManifest


class Hooks(Answer):
    """A part of a list; `next` is the `after` of the part behind it, null at the end."""

    hooks: list[Hook]
    next: str | None


TO_CI = (Hooks, Hook, MadeHook, HookCalled, SignedUpload)
