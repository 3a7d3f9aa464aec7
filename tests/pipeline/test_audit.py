"""A bucket or a folder is judged upload by upload, as if all were quiet."""

import io
import json
import zipfile

import pytest

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Verdict
from chalicelib.domain.report_text import as_json
from chalicelib.local.local_files import LocalFiles, audit_path
from chalicelib.pipeline.audit import audit
from chalicelib.pipeline.ports import Gone
from tests.fakes import FakeBucket


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as mar:
        mar.writestr("h.py", "def handle(data, context): ...")
        mar.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": {"modelName": "model", "handler": "h"}}))
    return buffer.getvalue()


KEYS = {
    "digits/1/model.mar": archive(),
    "digits/1/_report.json": b"{}",
    "digits/2/model.mar": b"broken, and long enough to be read",
    "digits/3/README.md": b"",
    "_reports/x.json": b"{}",
    "bad name/1/model.mar": archive(),
    "digits/model.mar": archive(),
    "model.mar": archive(),
}
EXPECTED = {
    "": "illegal_name",
    "bad name/1/": "illegal_name",
    "digits/": "illegal_name",
    "digits/1/": Verdict.ACCEPT,
    "digits/2/": "bad_zip",
    "digits/3/": Verdict.INCOMPLETE,
}


def outcome(report):
    return report.findings[0].code if report.verdict is Verdict.REJECT else report.verdict


def test_every_upload_of_a_bucket_is_judged_and_illegal_names_are_reports_too():
    bucket = FakeBucket()
    for key, body in KEYS.items():
        bucket.put(key, body)
    assert {r.prefix: outcome(r) for r in audit(bucket)} == EXPECTED
    assert [r.prefix for r in audit(bucket, "digits/2/")] == ["digits/2/"]


def test_an_upload_that_changes_while_it_is_read_says_so():
    class Changing(FakeBucket):
        def read(self, item, start, length):
            self.put(item.key, b"other")
            raise Gone(item.key)

    bucket = Changing()
    bucket.put("digits/1/model.mar", archive())
    with pytest.raises(Gone):
        list(audit(bucket))


def test_a_folder_that_mirrors_a_drop_is_judged_like_one(tmp_path):
    for key, body in KEYS.items():
        if key.count("/") == 2:
            (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / key).write_bytes(body)
    found = {r.prefix: outcome(r) for r in audit_path(tmp_path)}
    assert found == {prefix: how for prefix, how in EXPECTED.items() if prefix.count("/") == 2}


@pytest.mark.parametrize(
    ("folder", "prefix", "model_id"),
    [("digits/7", "digits/7/", "digits"), ("a b", "a b/", None), ("a b/c", "c/", None)],
)
def test_a_local_folder_is_one_upload_named_by_its_last_two_names_where_they_are_legal(
    tmp_path, folder, prefix, model_id
):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "model.mar").write_bytes(archive())
    (report,) = audit_path(tmp_path / folder)
    assert (report.prefix, report.verdict) == (prefix, Verdict.ACCEPT)
    assert as_json(report)["model_id"] == model_id


def test_a_single_archive_is_judged_by_itself_and_by_its_name(tmp_path):
    (tmp_path / "model.mar").write_bytes(archive())
    (tmp_path / "digits.mar").write_bytes(archive())
    (good,) = audit_path(tmp_path / "model.mar")
    (misnamed,) = audit_path(tmp_path / "digits.mar")
    assert good.verdict is Verdict.ACCEPT
    assert (misnamed.verdict, misnamed.findings[0].code) == (Verdict.REJECT, "archive_name")


def test_an_export_one_folder_too_deep_is_told_to_be_so(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "saved_model.pb").write_bytes(b"")
    (report,) = audit_path(tmp_path)
    assert outcome(report) == "wrong_depth"


def test_a_path_that_is_not_there_is_rejected(tmp_path):
    with pytest.raises(Rejected, match="no such file"):
        list(audit_path(tmp_path / "nowhere"))


def test_a_local_file_that_changed_since_it_was_listed_is_gone(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    files = LocalFiles(tmp_path)
    (item,) = files.list()
    assert files.read(item, 1, 2) == b"ne"
    assert b"".join(files.stream(item)) == b"one"
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(Gone):
        files.read(item, 0, 1)
