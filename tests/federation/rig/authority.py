"""A certificate authority of a test, and a server's certificate of it: two certificates, as in real life."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_Key = ec.EllipticCurvePrivateKey


def certify(authority: Path, certificate: Path, key: Path) -> None:
    """Writes an authority's certificate, and certificate and key (0400) of a server at 127.0.0.1, all PEM."""
    root, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usable = x509.SubjectAlternativeName([x509.DNSName("hub.example"), x509.IPAddress(ip_address("127.0.0.1"))])
    authority.write_bytes(_signed("authority of a test", root, root, [x509.BasicConstraints(True, 0)]))
    certificate.write_bytes(_signed("hub.example", server, root, [x509.BasicConstraints(False, None), usable]))
    key.touch(mode=0o600)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.write_bytes(server.private_bytes(*form))
    key.chmod(0o400)


def _signed(name: str, key: _Key, root: _Key, extensions: Sequence[x509.ExtensionType]) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("authority of a test"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
    )
    for one in extensions:
        builder = builder.add_extension(one, critical=isinstance(one, x509.BasicConstraints))
    return builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
