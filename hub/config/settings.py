"""The hub's settings: hub.toml in its folder, then environment variables CONSORTIA_HUB_*, which win."""

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from hub.errors import SetupRefused
from protocol.dpop import origin_of
from protocol.study import explain

SETTINGS_FILE = "hub.toml"
MAX_WORKERS = 64


def usable_cores() -> int:
    """The cores that this process may run on, which may be fewer than the machine has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)


class HubSettings(BaseSettings):
    """Frozen; unknown keys are refused. Secrets stand in files, and here are only their paths."""

    model_config = SettingsConfigDict(env_prefix="CONSORTIA_HUB_", frozen=True, extra="forbid")

    folder: Path
    consortium: Annotated[str, Field(min_length=1, max_length=120)]
    log_origin: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9./-]{0,118}[a-z0-9]$")]
    database_url: str = ""
    """An SQLAlchemy URL: sqlite:///PATH or postgresql://...; empty: hub.sqlite in the folder."""
    database_password_file: Path | None = None
    """A file (0600) with the password of database_url, and nothing else."""
    key_passphrase_file: Path | None = None
    """A file (0600) with the passphrase that the hub's private keys are sealed by; none: they lie as they are."""
    blobs_url: Annotated[str, Field(pattern=r"^(|file:///.+|s3://.+)$")] = ""
    """Where chunks and sealed bundles lie, s3://BUCKET/PREFIX; empty: blobs/ in the folder."""
    s3_endpoint: str = ""
    """The S3 server's address, for one that isn't the cloud provider's own."""
    s3_region: str = ""
    s3_credentials: Path | None = None
    """A TOML file (0600) with access_key_id and secret_access_key; none: those of the process or its machine."""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8700
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    public_origin: str = ""
    """The address that parties call, https://HOST[:PORT]: what DPoP proofs must be made for. Empty on loopback only."""
    aggregator: Literal["processes", "ray"] = "processes"
    """What adds ciphertexts: processes of the hub's own, or Ray (the extra `ray`)."""
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] = Field(default_factory=usable_cores)
    """Processes that add, each on a core of its own; by default as many as the hub may use, at most 64."""
    ray_address: Annotated[str, Field(pattern=r"^(local|[A-Za-z0-9.-]+:[0-9]{1,5})$")] = "local"
    """HOST:PORT of a running cluster, or local: one on this machine that starts and ends with the hub."""
    ray_token: Path | None = None
    """A file (0600) with the running cluster's token."""
    tick_s: Annotated[float, Field(gt=0, le=60)] = 0.5
    lease_s: Annotated[float, Field(ge=1, le=3600)] = 30.0
    checkpoint_age_s: Annotated[int, Field(ge=60, le=86_400)] = 3600
    witness_every_s: Annotated[int, Field(ge=10, le=43_200)] = 3600
    """How often the witnesses are shown a new checkpoint to cosign; at once when another charter is in force."""
    witness_urls: dict[str, str] = Field(default_factory=dict)
    """Witnesses outside the consortium that the hub asks: the key name in the charter -> its https:// prefix."""
    timestamp_url: Annotated[str, Field(pattern=r"^(|https?://.+)$")] = ""
    """An RFC 3161 authority that dates the log; none: it isn't dated. Its answers are signed, so http will do."""
    timestamp_ca: Path | None = None
    """A PEM file with the authority's root certificates."""
    tokens_per_minute: Annotated[int, Field(ge=1)] = 120
    """From one address, in each process of the hub."""
    enrolments_per_minute: Annotated[int, Field(ge=1)] = 60
    """The same, for what needs no key yet: enrolments and founding charters."""
    keep_sums_s: Annotated[int, Field(ge=0, le=30 * 86_400)] = 86_400
    """How long the sums of a closed study stay, for silos that missed its last round."""
    keep_released_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """How long sealed models and sealed outputs of jobs stay after they came, to be fetched by whom they are for."""

    @model_validator(mode="after")
    def _listens_safely(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: give both files, or neither")
        if self.tls_certificate is None and not self.behind_proxy and not is_loopback(self.host):
            raise ValueError(
                f"host: {self.host} is not loopback, so tls_certificate and tls_key are needed, "
                "or behind_proxy = true when a proxy on this machine ends TLS"
            )
        beyond = self.behind_proxy or not is_loopback(self.host)
        if beyond and not self.public_origin:
            raise ValueError("public_origin: give the address that silos and people call, e.g. https://hub.example")
        if self.public_origin and (
            origin_of(self.public_origin) != self.public_origin or not is_safe_endpoint(self.public_origin)
        ):
            raise ValueError(
                "public_origin: an https:// origin in lower case, without path or default port, is needed, "
                "or http:// to this machine itself"
            )
        if self.s3_endpoint and not is_safe_endpoint(self.s3_endpoint):
            raise ValueError("s3_endpoint: an https:// address is needed, or http:// to this machine itself")
        return self

    @model_validator(mode="after")
    def _outside_is_asked_safely(self) -> Self:
        for name, url in self.witness_urls.items():
            if not is_safe_endpoint(url):
                raise ValueError(
                    f"witness_urls: {name}: an https:// address is needed, or http:// to this machine itself"
                )
        if bool(self.timestamp_url) != (self.timestamp_ca is not None):
            raise ValueError("timestamp_url and timestamp_ca: give both, or neither")
        return self

    @model_validator(mode="after")
    def _holds_no_password(self) -> Self:
        if has_password(self.database_url):
            raise ValueError("database_url: holds a password; put it into a file that database_password_file names")
        if self.database_password_file is not None and not self.database_url.startswith("postgresql"):
            raise ValueError("database_password_file: only a postgresql:// database_url has a password")
        return self

    @model_validator(mode="after")
    def _ray_is_closed_and_sees_the_blobs(self) -> Self:
        if self.ray_address == "local":
            if self.ray_token is not None:
                raise ValueError("ray_token: a local cluster makes its own; remove it, or give ray_address")
            return self
        if self.ray_token is None:
            raise ValueError(
                f"ray_address: {self.ray_address} needs ray_token; without one anybody could run code there"
            )
        if not self.blobs_url.startswith("s3://"):
            raise ValueError("blobs_url: workers of a cluster run on other machines, so an s3:// address is needed")
        return self

    @property
    def database(self) -> str:
        """The database's URL, with the driver that the hub uses."""
        url = self.database_url or f"sqlite:///{self.folder / 'hub.sqlite'}"
        return url.replace("postgresql://", "postgresql+psycopg://", 1)

    @property
    def blobs(self) -> str:
        return self.blobs_url or f"file://{(self.folder / 'blobs').absolute()}"

    @property
    def keys(self) -> Path:
        """The folder (0700) of the hub's private keys (0600)."""
        return self.folder / "keys"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        given = init_settings()
        toml = TomlConfigSettingsSource(settings_cls, Path(given["folder"]) / SETTINGS_FILE)
        return init_settings, env_settings, toml


def load(folder: Path, overrides: dict[str, Any] | None = None) -> HubSettings:
    """The settings of the hub in `folder`; `overrides` are the command's options. Raises `SetupRefused`."""
    if not (folder / SETTINGS_FILE).is_file():
        raise SetupRefused(
            f"{folder / SETTINGS_FILE} is missing; run: consortia-hub init --folder {folder} --consortium NAME"
        )
    try:
        return HubSettings(folder=folder, **(overrides or {}))
    except ValidationError as error:
        raise SetupRefused(f"{folder / SETTINGS_FILE}: {explain(error)}") from None
    except tomllib.TOMLDecodeError as error:
        raise SetupRefused(f"{folder / SETTINGS_FILE} is not TOML: {error}") from None


def is_safe_endpoint(url: str) -> bool:
    """https, or http to this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def has_password(url: str) -> bool:
    """Whether an SQLAlchemy URL states a password, before the host or in its query."""
    try:
        parts = make_url(url) if url else None
    except ArgumentError:
        raise ValueError("database_url: must be sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    return parts is not None and bool(parts.password or "password" in parts.query)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
