"""Archives that need no framework to make: legal by every rule, with a handler of a few lines."""

import io
import json
import zipfile

HANDLER = """
def handle(data, context):
    return None if data is None else [row.get("data", row.get("body")) for row in data]
"""


def small_mar(handler: str = HANDLER, **manifest_changes) -> bytes:
    """Return the bytes of a `model.mar` with a module-level handler and no weights."""
    manifest = {
        "createdOn": "01/01/2026 00:00:00",
        "runtime": "python",
        "model": {"modelName": "model", "handler": "handler.py", "modelVersion": "1.0", **manifest_changes},
        "archiverVersion": "0.12.0",
    }
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("handler.py", handler), ("MAR-INF/MANIFEST.json", json.dumps(manifest))):
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)  # the same bytes at any time
    return body.getvalue()
