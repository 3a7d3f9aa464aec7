"""What a store lets in by a signed request: one file, its length and its bytes, for a while; moto and real MinIO."""

import contextlib
import hashlib
import re
import socket
import threading
import time
from datetime import timedelta
from socketserver import BaseRequestHandler, ThreadingTCPServer

import httpx
import pytest

from chalicelib.adapters.s3_presign import S3Uploads
from chalicelib.domain import signed_upload
from chalicelib.local.home import Home
from chalicelib.local.stores import Embedded, MinIO

MIB = 2**20
BODY = b"weights" * 1000
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module", params=["moto", "minio"])
def connected(request, tmp_path_factory):
    home = Home(tmp_path_factory.mktemp(request.param))
    store = Embedded(home) if request.param == "moto" else MinIO(home, receiver="http://127.0.0.1:9/", token="t")
    try:
        yield store.start()
    finally:
        store.stop()


@pytest.fixture(scope="module")
def uploads(connected):
    """Return the port signed by the uploader's own key, which may do nothing but upload."""
    return S3Uploads(connected.drop, connected.signer())


@pytest.fixture
def checks(connected):
    """Skip what moto, which takes every request, doesn't do."""
    if connected.uploader_access_key == "modeldrop":
        pytest.skip("the embedded store checks neither signatures nor lengths")


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def send(request, body, **changed):
    return httpx.request(request.method, changed.get("url", request.url), headers=request.headers, content=body)


def sign(uploads, key, body=BODY, within=HOUR):
    [request] = uploads.sign(key, len(body), sha256(body), within).parts
    return request


@pytest.mark.parametrize("body", [BODY, b"", b"x"])
@pytest.mark.parametrize("key", ["m/1/model.mar", "m/1/a b/ü+%.bin", "m/1/variables/variables.data-00000-of-00001"])
def test_a_signed_request_writes_the_file_that_it_is_for(uploads, connected, key, body):
    assert send(sign(uploads, key, body), body).status_code == 200
    assert connected.drop.get(key) == body


def test_a_large_file_is_written_in_parts(uploads, connected, monkeypatch):
    monkeypatch.setattr(signed_upload, "ONE_PUT", 5 * MIB)
    monkeypatch.setattr(signed_upload, "_PART", 5 * MIB)
    body = bytes(range(256)) * (11 * MIB // 256)
    signed = uploads.sign("m/1/large.bin", len(body), sha256(body), HOUR)
    answers = [send(part, body[part.offset : part.offset + part.length]) for part in signed.parts]
    tags = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['etag']}</ETag></Part>"
        for number, answer in enumerate(answers, start=1)
    )
    assert [part.length for part in signed.parts] == [5 * MIB, 5 * MIB, 1 * MIB]
    assert connected.drop.get("m/1/large.bin") is None
    ended = send(signed.complete, f"<CompleteMultipartUpload>{tags}</CompleteMultipartUpload>".encode())
    assert (ended.status_code, "<Error>" in ended.text) == (200, False)
    assert connected.drop.get("m/1/large.bin") == body


@pytest.mark.usefixtures("checks")
def test_other_bytes_of_the_same_length_are_refused(uploads, connected):
    request = sign(uploads, "m/1/other.mar")
    assert send(request, BODY[::-1]).status_code in {400, 403}
    assert connected.drop.get("m/1/other.mar") is None


@pytest.mark.usefixtures("checks")
def test_more_bytes_are_refused(uploads, connected):
    request = sign(uploads, "m/1/more.mar")
    headers = {**request.headers, "content-length": str(len(BODY) * 2)}
    assert httpx.put(request.url, headers=headers, content=BODY * 2).status_code == 403
    assert connected.drop.get("m/1/more.mar") is None


@pytest.mark.usefixtures("checks")
def test_bytes_without_the_promised_checksum_are_refused(uploads, connected):
    request = sign(uploads, "m/1/bare.mar")
    assert httpx.put(request.url, headers={"content-length": str(len(BODY))}, content=BODY).status_code in {400, 403}
    assert connected.drop.get("m/1/bare.mar") is None


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize(
    ("pattern", "instead"),
    [("m/1/own.mar", "m/2/own.mar"), ("/drop/", "/model-store/"), ("X-Amz-Expires=3600", "X-Amz-Expires=36000")],
)
def test_a_url_is_for_one_key_and_as_long_as_it_says(uploads, connected, pattern, instead):
    request = sign(uploads, "m/1/own.mar")
    assert pattern in request.url
    assert send(request, BODY, url=request.url.replace(pattern, instead)).status_code == 403
    assert connected.drop.list("m/2/") == []


@pytest.mark.usefixtures("checks")
def test_a_url_for_writing_reads_and_deletes_nothing(uploads, connected):
    request = sign(uploads, "m/1/kept.mar")
    send(request, BODY)
    refused = {400, 403}
    assert httpx.get(request.url).status_code in refused
    assert httpx.delete(request.url).status_code in refused
    assert connected.drop.get("m/1/kept.mar") == BODY


@pytest.mark.usefixtures("checks")
def test_a_url_ends(uploads, connected):
    request = sign(uploads, "m/1/late.mar", within=timedelta(seconds=1))
    time.sleep(2.1)
    assert send(request, BODY).status_code == 403
    assert connected.drop.get("m/1/late.mar") is None


def test_every_header_that_has_to_be_sent_is_signed(uploads):
    request = sign(uploads, "m/1/x.mar")
    signed = re.search(r"X-Amz-SignedHeaders=([^&]*)", request.url)[1].split("%3B")
    assert {*request.headers} | {"host"} == {*signed}


class Forwarder(BaseRequestHandler):
    """Passes one connection's bytes on to the store as they are, as a proxy does that keeps the Host header."""

    def handle(self):
        with socket.create_connection(self.server.store) as store:
            back = threading.Thread(target=self._pass_on, args=(store, self.request))
            back.start()
            self._pass_on(self.request, store)
            back.join()

    @staticmethod
    def _pass_on(source, target):
        while part := source.recv(65536):
            target.sendall(part)
        with contextlib.suppress(OSError):  # it has hung up by itself
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(endpoint):
    """Give the URL of a proxy before a store."""
    server = ThreadingTCPServer(("127.0.0.1", 0), Forwarder)
    server.store = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_uploaders_may_know_the_store_by_another_name(connected):
    with proxy(connected.endpoint) as url:
        uploads = S3Uploads(connected.drop, connected.signer(url))
        request = sign(uploads, "m/1/proxied.mar")
        assert request.url.startswith(f"{url}/drop/m/1/proxied.mar?")
        headers = {**request.headers, "connection": "close"}
        assert httpx.put(request.url, headers=headers, content=BODY).status_code == 200
    assert connected.drop.get("m/1/proxied.mar") == BODY
