"""Certificates are made once, fit the machine's names, stay secret, and are renewed before they end."""

import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from chalicelib.local.gateway.tls import CA_LIFE, RENEW_BEFORE, SERVER_LIFE, ensure_certificates, local_names
from tests.local.gateway_world import World, predict

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("localhost", "127.0.0.1", "::1")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_keys_are_for_their_owner_alone(tmp_path):
    ensure_certificates(tmp_path / "tls", NAMES, NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "tls").iterdir()}
    assert modes["ca-key.pem"] == modes["server-key.pem"] == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert set(modes) == {"ca.pem", "ca-key.pem", "server.pem", "server-key.pem"}


def test_the_second_start_changes_nothing(tmp_path):
    ensure_certificates(tmp_path, NAMES, NOW)
    before = contents(tmp_path)
    ensure_certificates(tmp_path, NAMES, NOW + timedelta(days=100))
    assert contents(tmp_path) == before


def test_a_certificate_near_its_end_is_renewed_by_the_same_ca(tmp_path):
    ensure_certificates(tmp_path, NAMES, NOW)
    before = contents(tmp_path)
    later = NOW + SERVER_LIFE - RENEW_BEFORE
    ensure_certificates(tmp_path, NAMES, later)
    after = contents(tmp_path)
    assert after["ca.pem"] == before["ca.pem"]
    assert x509.load_pem_x509_certificate(after["server.pem"]).not_valid_after_utc == later + SERVER_LIFE


def test_a_ca_that_would_end_before_its_certificate_is_renewed_with_it(tmp_path):
    ensure_certificates(tmp_path, NAMES, NOW)
    before = contents(tmp_path)
    ensure_certificates(tmp_path, NAMES, NOW + CA_LIFE - SERVER_LIFE)
    after = contents(tmp_path)
    assert all(after[name] != before[name] for name in before)


def test_a_new_name_gets_a_new_certificate(tmp_path):
    ensure_certificates(tmp_path, NAMES, NOW)
    _, certificate, _ = ensure_certificates(tmp_path, (*NAMES, "box.example", "10.0.0.7"), NOW)
    names = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions
    alternatives = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["localhost", "box.example"]
    assert [str(a) for a in alternatives.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.7"]


@pytest.mark.parametrize("lost", ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"])
def test_a_lost_file_is_made_again_and_all_fit_together(tmp_path, lost):
    ensure_certificates(tmp_path, NAMES, NOW)
    (tmp_path / lost).unlink()
    ca, certificate, _ = ensure_certificates(tmp_path, NAMES, NOW)
    issuer, issued = (x509.load_pem_x509_certificate(path.read_bytes()) for path in (ca, certificate))
    issued.verify_directly_issued_by(issuer)
    assert (tmp_path / lost).exists()


def test_the_machines_own_names_are_covered():
    assert {"localhost", "127.0.0.1", "::1", "extra"} <= set(local_names(["extra", "localhost"]))
    assert len(local_names(["extra", "localhost"])) == len(set(local_names()) | {"extra"})


def test_a_renewed_certificate_is_taken_up_while_serving():
    world = World()
    world.add_replica("v1")
    world.set_split({"v1": 100})
    before = ssl.get_server_certificate(("127.0.0.1", world.gateway.port))
    client = world.client("predict:digits")
    assert predict(client).status_code == 200
    later = datetime.now(UTC) + SERVER_LIFE - RENEW_BEFORE + timedelta(hours=2)
    _, certificate, key = ensure_certificates(world.folder / "tls", ("localhost",), later)
    world.gateway.use_certificate(certificate, key)
    assert ssl.get_server_certificate(("127.0.0.1", world.gateway.port)) == certificate.read_text() != before
    assert predict(client).status_code == 200  # on its old connection
    world.close()
