import datetime as dt
import ipaddress
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from digits import Digits, accuracy, likeliest
from load import Answer, Load, by_version, quantile, read_answer

THREE = [0.0, 0.1, 0.0, 0.9, *[0.0] * 6]


def said(predictions):
    return json.dumps({"predictions": predictions}).encode()


def test_a_row_with_a_nan_is_a_wrong_answer():
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, np.nan]], dtype="float32")
    assert accuracy(probabilities, np.array([0, 0, 0])) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("row", "digit"), [(THREE, 3), ([*THREE[:-1], None], None), ([None] * 10, None)])
def test_a_prediction_names_its_likeliest_digit_unless_a_number_is_missing(row, digit):
    assert likeliest(row) == digit


def test_an_answer_says_who_gave_it_and_what_it_means():
    assert read_answer(200, {"x-modeldrop-version": "v2"}, said([THREE])) == ("v2", 3, False)


def test_a_row_of_nulls_counts_as_not_finite_and_names_no_digit():
    headers = {"x-modeldrop-version": "v3", "x-modeldrop-nonfinite": "10"}
    assert read_answer(200, headers, said([[None] * 10])) == ("v3", None, True)


def test_a_refusal_names_no_digit():
    assert read_answer(503, {"x-modeldrop-version": "v1"}, b"busy") == ("v1", None, False)


@pytest.mark.parametrize("body", [b"{}", said([]), said([[0.1, 0.9]]), json.dumps([THREE]).encode()])
def test_a_200_that_is_no_prediction_is_an_error(body):
    with pytest.raises(ValueError, match="not one row of 10 probabilities"):
        read_answer(200, {}, body)


@pytest.mark.parametrize(("q", "value"), [(0.5, 50), (0.95, 95), (0.0, 1), (1.0, 100)])
def test_a_quantile_is_a_value_that_was_seen(q, value):
    assert quantile(range(100, 0, -1), q) == value


def test_tallies_are_by_version_and_a_failed_request_is_a_wrong_one():
    answers = [
        Answer(0, 0.010, 200, "v1", truth=3, digit=3),
        Answer(1, 0.030, 500, "v1", truth=3),
        Answer(2, 0.150, 200, "v3", truth=8, nonfinite=True),
        Answer(3, 10.0, 0, "", truth=1, error="ReadTimeout"),
    ]
    tallies = by_version(answers)
    assert sorted(tallies) == ["", "v1", "v3"]
    assert (tallies["v1"].requests, tallies["v1"].failed, tallies["v1"].accuracy) == (2, 1, 0.5)
    assert (tallies["v3"].nonfinite, tallies["v3"].failed, tallies["v3"].p95_ms) == (1, 0, 150)
    assert tallies[""].failed == 1


# --- the load itself, against a server of ours over real TLS ---------------------------------------------------------
class Knower(BaseHTTPRequestHandler):
    """Answers an image with the digit that its first pixel names; refuses one whose first pixel is 9."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        digit = int(body["instances"][0][0])
        status = 500 if digit == 9 or self.headers["authorization"] != "Bearer k" else 200
        answer = said([[float(i == digit) for i in range(10)]])
        self.send_response(status)
        self.send_header("x-modeldrop-version", "v1")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def url(pem):
    with ThreadingHTTPServer(("127.0.0.1", 0), Knower) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"https://127.0.0.1:{server.server_port}/v1/endpoints/digits/predict"
        server.shutdown()


def images_of(*labels):
    images = np.zeros((len(labels), 64), dtype="float32")
    images[:, 0] = labels
    return Digits(images, np.array(labels))


def answers_of(load, at_least):
    load.start()
    deadline = time.monotonic() + 60
    while len(load.answers) < at_least and time.monotonic() < deadline:
        time.sleep(0.01)
    return load.stop()


def test_the_load_asks_every_image_in_turn_and_records_each_answer(url, pem):
    answers = answers_of(Load(url, str(pem), "k", images_of(1, 2, 9), rate=200), at_least=9)
    assert [a.truth for a in answers[:6]] == [1, 2, 9, 1, 2, 9]
    assert all((a.digit == a.truth) != a.is_failed for a in answers)
    assert {a.status for a in answers if a.truth == 9} == {500}
    assert {a.version for a in answers} == {"v1"}
    assert [a.at for a in answers] == sorted(a.at for a in answers)


def test_a_request_that_nobody_answers_is_recorded_with_why(pem):
    answers = answers_of(Load("https://127.0.0.1:9/", str(pem), "k", images_of(1), rate=200), at_least=3)
    assert all(a.is_failed and a.status == 0 and a.error.startswith("ConnectionRefusedError") for a in answers)


def test_stopping_a_load_that_never_began_gives_no_answers(pem):
    assert Load("https://127.0.0.1:9/", str(pem), "k", images_of(1)).stop() == []
