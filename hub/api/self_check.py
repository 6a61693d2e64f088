"""Asking the hub that runs on this machine whether it works, as a service manager or a container does."""

import ssl
from collections.abc import Callable

import httpx

from hub.config.settings import HubSettings, is_loopback
from hub.errors import SetupRefused, Unhealthy
from protocol.routes import HEALTH

TIMEOUT_S = 5.0
PAUSE_S = 0.5
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - a hub that listens there is asked on loopback


def wait_for_health(
    settings: HubSettings, wait_s: float, clock: Callable[[], float], pause: Callable[[float], object]
) -> None:
    """`require_health`, asked again until it is well or `wait_s` seconds of `clock` have passed."""
    until = clock() + wait_s
    while True:
        try:
            require_health(settings)
            return
        except Unhealthy:
            if clock() >= until:
                raise
            pause(PAUSE_S)


def require_health(settings: HubSettings) -> None:
    """Raises `Unhealthy` unless the hub of these settings answers `GET /health`, by TLS if it has a certificate."""
    url = address(settings)
    try:
        with httpx.Client(verify=_trust(settings), timeout=TIMEOUT_S, trust_env=False) as http:
            answer = http.get(url)
    except httpx.TransportError as error:
        raise Unhealthy(f"{url} does not answer ({type(error).__name__}: {error})") from None
    if answer.status_code != httpx.codes.OK:
        raise Unhealthy(f"{url} answered {answer.status_code}; the hub's log says why")


def address(settings: HubSettings) -> str:
    """Where the hub is asked: the address that it listens on, or loopback where that is every address."""
    host = settings.host
    if host in EVERYWHERE or is_loopback(host):
        host = "127.0.0.1" if "." in host or host == "localhost" else "::1"
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}{HEALTH}"


def _trust(settings: HubSettings) -> ssl.SSLContext | bool:
    """Believes the certificate that the settings name, and no authority. Its name is that by which others call the
    hub, not the address that it is asked on here, so the name isn't compared."""
    if settings.tls_certificate is None:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=settings.tls_certificate)
    except OSError as error:  # which ssl.SSLError is
        raise SetupRefused(f"{settings.tls_certificate}: tls_certificate can't be read: {error.strerror}") from None
    return context
