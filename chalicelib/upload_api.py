"""The route that signs uploads. `api` puts it among its own."""

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.domain.manifest import ManifestFile
from chalicelib.domain.refs import VersionRef
from chalicelib.domain.scopes import upload_scope
from chalicelib.pipeline import uploads
from chalicelib.pipeline.ports import Ports
from chalicelib.routing import Json, Routes, require


class AskUpload(BaseModel):
    """A version that doesn't exist yet, and its files: path below MODEL_ID/VERSION_ID/, bytes, SHA-256 in hex."""

    model_config = ConfigDict(extra="forbid")
    model_id: str = Field(min_length=1)
    version_id: str = Field(min_length=1)
    files: list[ManifestFile] = Field(min_length=1)


def add(routes: Routes, ports: Callable[[], Ports]) -> None:
    """Put the route among others."""

    @routes.add(
        "POST",
        "/v1/uploads",
        "Sign the requests that upload a version.",
        scope="upload",
        body=AskUpload,
        answer="SignedUpload",
        status=201,
        description="Send each request as it is, the manifest's last.",
    )
    def sign_upload(body: AskUpload) -> Json:
        ref = VersionRef(body.model_id, body.version_id)
        require(routes.current_request, upload_scope(ref.model_id))
        return uploads.sign_upload(ref, body.files, ports())
