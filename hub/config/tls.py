"""The certificate and key that the hub serves TLS with, looked at before anything is started."""

import ssl

from hub.config.secret_files import read_secret
from hub.config.settings import HubSettings
from hub.errors import SetupRefused


def require_tls(settings: HubSettings) -> None:
    """Raises `SetupRefused` where a file is missing, the key is open to others, or the two don't fit together."""
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        return
    read_secret(key, "tls_key")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError:
        raise SetupRefused(
            f"{certificate}, {key}: tls_certificate and tls_key don't fit together, or aren't PEM; give the "
            "certificate with its chain, and its private key without a password"
        ) from None
    except OSError as error:
        raise SetupRefused(f"{certificate}: tls_certificate can't be read: {error.strerror}") from None


def _no_password() -> str:
    """Without this OpenSSL would ask at the terminal."""
    return ""
