"""What belongs to an upload, when it is whole by its manifest, and when it has been quiet."""

from datetime import timedelta

import pytest

from chalicelib.domain.errors import Rejected
from chalicelib.domain.findings import Report, Severity, Verdict
from chalicelib.domain.formats import DEFAULTS
from chalicelib.domain.manifest import Manifest, manifest_of, parse_manifest
from chalicelib.domain.objects import StoredObject, Upload
from chalicelib.domain.report_text import as_json, as_text
from chalicelib.domain.upload import gather, uploads, wait_until
from tests.domain.uploads import PREFIX, THEN, codes, folder, judged, mar, stored

QUIET = timedelta(seconds=5)
LISTING = [
    stored("model.mar", 10),
    stored("_report.json", 10),
    stored("_report.txt", 10),
    stored("", 0),
    stored("sub/", 0),
    stored("sub_$folder$", 0),
    StoredObject("_reports/x.json", 1, "e", THEN),
    StoredObject("other/1/model.mar", 1, "e", THEN),
]


def test_our_own_files_and_folder_markers_are_no_part_of_an_upload():
    assert list(gather(PREFIX, LISTING).paths) == ["model.mar"]
    assert gather(PREFIX, [o for o in LISTING if o.key != PREFIX + "model.mar"]).files == ()


def test_a_listing_falls_into_its_uploads():
    shallow = [StoredObject(key, 1, "e", THEN) for key in ("root.txt", "digits/x.txt", "digits/2/a", "digits/2/b/c")]
    assert [u.prefix for u in uploads(LISTING + shallow)] == ["", "digits/", "digits/1/", "digits/2/", "other/1/"]


@pytest.mark.parametrize(
    ("age", "open_since", "wait"),
    [
        (timedelta(0), (), QUIET),
        (timedelta(seconds=3), (), timedelta(seconds=2)),
        (QUIET, (), None),
        (timedelta(days=9), (), None),
        (timedelta(seconds=-900), (), QUIET),  # the store's clock is ahead
        (timedelta(days=9), (timedelta(hours=23),), timedelta(minutes=1)),
        (timedelta(days=9), (timedelta(hours=24),), None),
        (timedelta(days=9), (timedelta(hours=25), timedelta(0)), timedelta(minutes=1)),
    ],
)
def test_an_upload_is_awaited_until_it_was_quiet_and_no_young_multipart_upload_is_open(age, open_since, wait):
    upload = Upload(PREFIX, (stored("old", 1, THEN - timedelta(days=30)), stored("model.mar", 1, THEN - age)))
    begun = [("digits/1/model.mar", THEN - since) for since in open_since]
    until = wait_until(upload, begun, now=THEN, quiet=QUIET)
    assert until == (None if wait is None else THEN + wait)


def with_manifest(files, **changes):
    written = manifest_of((path, [body]) for path, body in files.items())
    return files | {"_manifest.json": written.to_json()} | changes


def test_a_manifest_is_read_back_as_written():
    written = manifest_of([("a", [b"x", b"y"]), ("_manifest.json", [b"old"]), ("_SUCCESS", [b""])])
    assert [f.path for f in written.files] == ["a"]
    assert written.files[0].size == 2
    assert parse_manifest(written.to_json()) == written


def test_with_a_manifest_whatever_it_names_is_awaited_by_path_and_size():
    whole = with_manifest({"model.mar": mar(), "golden.jsonl": b"{}\n"})
    assert judged(whole).verdict is Verdict.ACCEPT
    missing = judged({p: b for p, b in whole.items() if p != "golden.jsonl"})
    assert (missing.verdict, missing.missing) == (Verdict.INCOMPLETE, ("golden.jsonl",))
    shorter = judged(whole | {"golden.jsonl": b"{"})
    assert shorter.missing == ("golden.jsonl (it has 1 of 3 bytes)",)


def test_a_saved_model_is_awaited_by_its_manifest_in_any_order(saved_models):
    whole = with_manifest(folder(saved_models / "keras"))
    assert judged(whole).verdict is Verdict.ACCEPT
    for gone in whole:
        if gone != "_manifest.json":
            report = judged({p: b for p, b in whole.items() if p != gone})
            assert (report.verdict, report.missing) == (Verdict.INCOMPLETE, (gone,))


def test_a_manifest_that_ends_an_upload_without_its_artifact_rejects_it(saved_models):
    files = folder(saved_models / "keras")
    del files["variables/variables.index"]
    assert codes(judged(with_manifest(files))) == ["missing_file"]
    assert codes(judged(with_manifest({"README.md": b""}))) == ["missing_file"]


def test_a_file_that_the_manifest_does_not_name_is_a_warning():
    report = judged(with_manifest({"model.mar": mar()}, stray=b"x"))
    assert report.verdict is Verdict.ACCEPT
    assert [(f.code, f.severity) for f in report.findings] == [("not_in_manifest", Severity.WARNING)]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"", "JSON"),
        (b"[]", "document"),
        (b'{"version": 2, "files": []}', "version"),
        (b'{"version": 1}', "files"),
        (b'{"version": 1, "files": [{"path": "a", "size": -1, "sha256": "x"}]}', "files.0.size"),
        (b'{"version": 1, "files": [], "more": 1}', "more"),
        (Manifest(files=manifest_of([("a", [])]).files * 2).to_json(), "twice"),
    ],
)
def test_a_manifest_that_is_none_is_rejected_and_says_which_field(text, named):
    with pytest.raises(Rejected, match=named):
        parse_manifest(text)
    assert codes(judged({"model.mar": mar(), "_manifest.json": text})) == ["bad_manifest"]


@pytest.mark.parametrize(
    ("paths", "verdict", "code"),
    [
        ([], Verdict.INCOMPLETE, None),
        (["README.md", "deploy.yaml"], Verdict.INCOMPLETE, None),
        (["model.pt"], Verdict.REJECT, "loose_model"),
        (["model.onnx"], Verdict.REJECT, "loose_model"),
        (["model.keras"], Verdict.REJECT, "loose_model"),
        (["frozen.pb"], Verdict.REJECT, "loose_model"),
        (["fingerprint.pb"], Verdict.INCOMPLETE, None),
        (["digits.mar"], Verdict.REJECT, "archive_name"),
        (["export/saved_model.pb"], Verdict.REJECT, "wrong_depth"),
        (["a/b/model.mar"], Verdict.REJECT, "wrong_depth"),
        (["assets.extra/saved_model.pb"], Verdict.INCOMPLETE, None),
        (["model.mar", "saved_model.pb"], Verdict.REJECT, "two_artifacts"),
        (["a//b"], Verdict.REJECT, "illegal_path"),
        (["../up"], Verdict.REJECT, "illegal_path"),
        (["x" * 256], Verdict.REJECT, "illegal_path"),
        (["a", "a/b"], Verdict.REJECT, "file_and_folder"),
    ],
)
def test_the_names_of_the_files_are_judged(paths, verdict, code):
    report = judged(dict.fromkeys(paths, b"x"))
    assert (report.verdict, codes(report)) == (verdict, [code] if code else [])
    assert report.missing or verdict is Verdict.REJECT


def test_more_files_than_the_limit_are_rejected():
    files = {"model.mar": mar()} | {f"f{n}": b"" for n in range(999)}
    assert judged(files).verdict is Verdict.ACCEPT
    assert codes(judged(files | {"one-more": b""})) == ["too_many_files"]
    assert DEFAULTS.objects == 1000


def test_a_file_that_its_client_still_writes_is_awaited():
    assert judged({"model.mar": mar(), "golden.jsonl.part": b""}).verdict is Verdict.INCOMPLETE


def test_a_report_as_json_always_has_the_same_keys():
    accepted, strange = as_json(judged({"model.mar": mar()})), as_json(Report("only-one/", Verdict.REJECT))
    assert list(accepted) == list(strange)
    assert (accepted["model_id"], accepted["version_id"]) == ("digits", "1")
    assert (strange["model_id"], strange["version_id"], strange["format"]) == (None, None, None)
    finding = as_json(judged({"model.mar": b""}))["findings"][0]
    assert list(finding) == ["code", "where", "message", "fix", "severity"]
    assert finding["severity"] == "error"


def test_a_report_as_text_says_what_is_wrong_where_and_how_to_fix_it():
    text = as_text(judged({"model.mar": mar(serializedFile="w\x1b[31m.pt")}))
    assert text.startswith("digits/1/: reject (torch_archive)\n")
    assert "error [missing_file] model.mar: MAR-INF/MANIFEST.json: model.serializedFile:" in text
    assert "fix: " in text
    assert "\x1b" not in text
