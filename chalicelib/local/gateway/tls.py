"""The platform's own certificate authority, made on first start, and the server certificate that it signs.

Clients are given `ca.pem` once and trust every certificate that follows. Keys are readable by their owner alone.
"""

import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=397)  # the longest that browsers take
RENEW_BEFORE = timedelta(days=30)
_SKEW = timedelta(hours=1)  # clients' clocks may be behind
_Key = ec.EllipticCurvePrivateKey


def local_names(extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the names and addresses that this machine is called by, and those given."""
    return tuple(dict.fromkeys(("localhost", "127.0.0.1", "::1", socket.gethostname(), *extra)))


def ensure_certificates(folder: Path, names: Sequence[str], now: datetime) -> tuple[Path, Path, Path]:
    """Return (ca, certificate, key) files that are valid for a while and for these names, making what is missing."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca, certificate, key = folder / "ca.pem", folder / "server.pem", folder / "server-key.pem"
    if not _is_fresh(ca, now, SERVER_LIFE + RENEW_BEFORE) or not (folder / "ca-key.pem").exists():
        _make_ca(folder, now)
        certificate.unlink(missing_ok=True)
    if not (key.exists() and _is_fresh(certificate, now, RENEW_BEFORE) and _names_of(certificate) >= set(names)):
        _make_server(folder, names, now)
    return ca, certificate, key


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS settings of a server: 1.2 and up, HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _make_ca(folder: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Modeldrop on {socket.gethostname()}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=False, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(name, name, key, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(folder / "ca-key.pem", key)
    _write(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _make_server(folder: Path, names: Sequence[str], now: datetime) -> None:
    issuer = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), password=None)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "modeldrop")])
    certificate = (
        _builder(name, issuer.subject, key, now, SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    _write_key(folder / "server-key.pem", key)
    _write(folder / "server.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: _Key, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: Path) -> set[str]:
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}


def _is_fresh(certificate: Path, now: datetime, margin: timedelta) -> bool:
    if not certificate.exists():
        return False
    return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc > now + margin


def _write_key(path: Path, key: _Key) -> None:
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write(path, key.private_bytes(encoding, kind, serialization.NoEncryption()), 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file whole, never readable by more than `mode` says."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    part.replace(path)
