"""Settings, read once from the environment (and `.env`), and checked before anything starts.

Every setting is an environment variable of the same name in capitals; `.env.example` lists them all.
"""

import os
import secrets
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.core.email_address import normalise_email

MINIMUM_SECRET_BYTES = 32
SAMPLE_SECRETS = ("changeme", "change-me", "secret", "your-secret", "example", "password")


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


class DispatcherPlacement(StrEnum):
    EMBEDDED = "embedded"
    EXTERNAL = "external"


class DispatchMode(StrEnum):
    MANUAL = "manual"
    AUTOMATIC = "automatic"


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class ConfigurationError(Exception):
    """A setting is missing or unusable. The message is one sentence that says what to do."""


def _split_commas(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _as_in_an_address(domain: str) -> str:
    """One spelling for a domain and for the addresses in it."""
    address = normalise_email(f"somebody@{domain}")
    if address is None:
        raise ValueError(f"{domain!r} is no domain of e-mail addresses, such as example.org")
    return address.partition("@")[2]


Domain = Annotated[str, AfterValidator(_as_in_an_address)]


class Settings(BaseSettings):
    """All settings of the service, with their units in the names."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    environment: Environment = Environment.DEVELOPMENT
    data_dir: Path = Path("data")
    database_url: SecretStr | None = None
    migration_database_url: SecretStr | None = None
    database_pool_size: Annotated[int, Field(ge=2, le=200)] = 16
    migrate_on_start: bool = True

    jwt_secret_key: SecretStr | None = None
    access_token_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    session_days: Annotated[int, Field(ge=1, le=90)] = 7
    bcrypt_cost: Annotated[int, Field(ge=4, le=16)] = 12
    registration: Literal["open", "domains", "closed"] = "open"
    registration_domains: Annotated[tuple[Domain, ...], NoDecode, BeforeValidator(_split_commas)] = ()
    allow_local_email: bool = False
    login_failure_limit: Annotated[int, Field(ge=1)] = 10
    login_failure_window_seconds: Annotated[int, Field(ge=1)] = 300
    metrics_token: Annotated[SecretStr, Field(min_length=16)] | None = None
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split_commas)] = ()

    default_monthly_gpu_hours: Annotated[float, Field(ge=0, le=1_000_000)] = 100
    quota_calendar: Literal["gregorian", "jalali"] = "gregorian"
    time_zone: str = "UTC"

    dispatcher: DispatcherPlacement = DispatcherPlacement.EMBEDDED
    dispatch_mode: DispatchMode = DispatchMode.MANUAL
    dispatcher_tick_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    starvation_limit_hours: Annotated[float, Field(ge=0)] = 24

    executor: Literal["simulated", "local", "slurm"] = "simulated"
    simulation_speedup: Annotated[float, Field(gt=0, le=1_000_000)] = 360
    simulation_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    simulated_fleet: str = "node1=A100x8,node2=V100x4,node3=T4x4"

    local_gpus: str = ""
    local_job_uids: str = "2010000000-2146999999"
    local_job_user: str | None = None
    local_trust_users: bool = False
    local_sandbox: Literal["auto", "bubblewrap", "none"] = "auto"
    local_writable_dirs: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split_commas)] = ()
    local_runs_dir: Path | None = None
    local_log_limit_mib: Annotated[int, Field(ge=1, le=1_048_576)] = 64
    local_memory_limit_gib: Annotated[float, Field(ge=0)] = 0
    local_process_limit: Annotated[int, Field(ge=0)] = 4096
    local_run_folder_limit_gib: Annotated[float, Field(ge=0)] = 0
    local_free_space_floor_gib: Annotated[float, Field(ge=0)] = 1
    local_keep_runs_days: Annotated[int, Field(ge=1)] = 90
    local_keep_runs_gib: Annotated[float, Field(ge=0)] = 0

    slurm_log_dir: Path | None = None
    slurm_submit_as: Literal["service", "user"] = "service"
    slurm_users: str = ""
    slurm_partition: str = ""
    slurm_account: str = ""
    slurm_qos: str = ""
    slurm_foreign_jobs: Literal["tell", "cancel"] = "tell"
    slurm_command_timeout_seconds: Annotated[float, Field(ge=1, le=120)] = 20

    log_format: LogFormat = LogFormat.JSON
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is no IANA time zone, such as Asia/Tehran") from error
        return name

    @model_validator(mode="after")
    def _the_owner_has_a_database(self) -> Self:
        if self.migration_database_url is not None and self.database_url is None:
            raise ValueError("MIGRATION_DATABASE_URL is set and DATABASE_URL is not: set both, or neither")
        return self

    @model_validator(mode="after")
    def _somebody_can_register(self) -> Self:
        if self.registration == "domains" and not self.registration_domains:
            raise ValueError("REGISTRATION is domains: name them in REGISTRATION_DOMAINS, as in example.org,lab.ir")
        return self

    @model_validator(mode="after")
    def _production_is_safe(self) -> Self:
        if self.environment is Environment.PRODUCTION:
            if self.jwt_secret_key is None:
                raise ValueError("JWT_SECRET_KEY is not set: put the output of `openssl rand -base64 48` into it")
            if self.bcrypt_cost < 10:
                raise ValueError("BCRYPT_COST is below 10: leave it at 12")
        if self.jwt_secret_key is not None:
            _refuse_weak_secret(self.jwt_secret_key.get_secret_value())
        return self

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def clock_rate(self) -> float:
        """How many seconds of a run pass in one of ours: other than one only where runs are simulated."""
        return self.simulation_speedup if self.executor == "simulated" else 1.0

    @property
    def jobs_run_as_service(self) -> bool:
        """Whether a job could read what the service can, its database's password included."""
        match self.executor:
            case "local":
                return self.local_job_user is None and (self.local_trust_users or os.geteuid() != 0)
            case "slurm":
                return self.slurm_submit_as == "service"
        return False

    @property
    def jobs_share_a_user(self) -> bool:
        """Whether only a sandbox that may be missing keeps the jobs of different people apart."""
        is_shared = self.executor == "local" and self.local_job_user is not None
        return is_shared and self.local_sandbox != "bubblewrap"

    @property
    def runs_dir(self) -> Path:
        return self.local_runs_dir or self.data_dir / "runs"

    @property
    def access_token_lifetime(self) -> timedelta:
        return timedelta(minutes=self.access_token_minutes)

    @property
    def session_lifetime(self) -> timedelta:
        return timedelta(days=self.session_days)

    @property
    def starvation_limit(self) -> timedelta:
        return timedelta(hours=self.starvation_limit_hours)

    @cached_property
    def signing_key(self) -> str:
        """The key that signs tokens and cursors.

        In development a random one is made once and kept in the data directory, so that sessions outlive restarts.

        Raises:
            ConfigurationError: the data directory cannot be written.
        """
        if self.jwt_secret_key is not None:
            return self.jwt_secret_key.get_secret_value()
        return _kept_development_secret(self.data_dir / "jwt_secret")


def load_settings(**overrides: Any) -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: with the first problem found, as one sentence without the offending value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(str(part) for part in problem["loc"][:1]).upper()
        message = problem["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{name}: {message}" if name else message) from None


def _refuse_weak_secret(secret: str) -> None:
    advice = "put the output of `openssl rand -base64 48` into it"
    if len(secret.encode()) < MINIMUM_SECRET_BYTES:
        raise ValueError(f"JWT_SECRET_KEY is shorter than {MINIMUM_SECRET_BYTES} bytes: {advice}")
    if len(set(secret)) < 10 or any(sample in secret.lower() for sample in SAMPLE_SECRETS):
        raise ValueError(f"JWT_SECRET_KEY looks like a sample: {advice}")


def _kept_development_secret(path: Path) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the data directory {path.parent}: {error.strerror}; "
            "give this user the right to write there, or set DATA_DIR"
        ) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret := secrets.token_urlsafe(48))
    return secret
