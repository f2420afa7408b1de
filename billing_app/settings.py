"""Settings: the only module that reads the environment."""

import os
import re
from email.policy import default
from enum import StrEnum
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from dotenv import dotenv_values
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEMO_DEFAULTS: Final = {
    "TRIAL_PLAN_EXECUTIONS": "1000",
    "PUBLIC_ORG_ID": "public",
    "WEBHOOK_ALLOW_PRIVATE": "true",
}
# Where the product of somebody who tries portal links usually runs.
DEMO_PRODUCTS: Final = ("http://localhost:5000", "http://localhost:8000", "http://localhost:8080")
SANDBOX_ADDRESS: Final = "http://127.0.0.1:12111"
SANDBOX_DEFAULTS: Final = {
    "STRIPE_SECRET_KEY": "sk_test_sandbox",
    "STRIPE_WEBHOOK_SECRET": "whsec_sandbox",
    "STRIPE_API_BASE": SANDBOX_ADDRESS,
}
DEMO_KEY_FILE: Final = "demo-key"
DEMO_SANDBOX_FILE: Final = "demo-sandbox"
DATA_DIRECTORY: Final = Path(".data")
ENV_FILE: Final = ".env"
DEMO_MAIL_DIRECTORY: Final = "mail"
DEMO_FLAG: Final = "BILLING_DEMO"
DATABASE_SCHEME: Final = re.compile(r"postgres(ql)?(\+\w+)?://")
ORIGIN: Final = re.compile(
    r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?"
)
BARE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
LIVE_KEY_REFUSED: Final = "STRIPE_SECRET_KEY is a live key. The demo accepts only test keys."
EVENT_RETENTION_MONTHS_MIN: Final = 2
DAILY_RETENTION_MONTHS_MIN: Final = 13
LIVE_KEY_PREFIXES: Final = ("sk_live_", "rk_live_", "sk_org_live_")
# Of the 100 and 25 requests a second that Stripe allows (docs.stripe.com/rate-limits).
STRIPE_LIVE_RATE: Final = 80
STRIPE_TEST_RATE: Final = 20


class SettingsError(Exception):
    """A setting is missing or malformed; one line for each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class MailSecurity(StrEnum):
    """`STARTTLS` is usual on port 587, `TLS` on 465, `NONE` with a local relay."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class LogFormat(StrEnum):
    """`AUTO`: lines for people on a terminal, else JSON."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


class Settings(BaseSettings):
    """The operator's settings. Field names are those of the environment, in lower case."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True
    )

    trial_plan_executions: int = Field(ge=0, le=1_000_000_000)
    public_org_id: str = Field(min_length=1, max_length=255)
    one_trial_per_person: bool = True
    trial_plan_days: int | None = Field(default=None, ge=1, le=3650)
    database_url: str | None = None
    data_directory: Path = DATA_DIRECTORY
    public_url: str = "http://localhost:3000"
    stripe_secret_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_api_base: str | None = None
    stripe_tax: bool = False
    stripe_requests_per_second: int | None = Field(default=None, ge=1, le=10_000)
    payment_grace_days: int = Field(default=7, ge=0, le=90)
    reconcile_seconds: int = Field(default=1_200, ge=10, le=2_400)
    renewal_bridge_hours: int = Field(default=24, ge=0, le=168)
    trusted_proxies: str = ""
    product_name: str = Field(default="", max_length=100)
    portal_return_origins: str = ""
    portal_frame_origins: str = ""
    webhook_allow_private: bool = False
    reflex_redis_url: str | None = None
    session_days: int = Field(default=30, ge=1, le=365)
    idempotency_retention_days: int = Field(default=400, ge=1)
    event_retention_months: int | None = Field(default=None, le=1200)
    daily_retention_months: int | None = Field(default=None, le=1200, validate_default=True)
    smtp_host: str | None = None
    smtp_port: int = Field(default=587, ge=1, le=65_535)
    smtp_security: MailSecurity = MailSecurity.STARTTLS
    smtp_username: str | None = None
    smtp_password: SecretStr | None = Field(default=None, validate_default=True)
    mail_from: str | None = Field(default=None, validate_default=True)
    mail_directory: Path | None = None
    worker_poll_seconds: float = Field(default=30.0, ge=0.1, le=600)
    sweep_seconds: int = Field(default=60, ge=1, le=60)
    page_poll_seconds: float = Field(default=1.5, gt=0, le=60)
    page_patience_seconds: float = Field(default=10.0, gt=0, le=60)
    page_retry_seconds: float = Field(default=5.0, gt=0, le=60)
    dialog_patience_seconds: float = Field(default=15.0, gt=0, le=60)
    visitor_state_seconds: float = Field(default=10.0, gt=0, le=3600)
    visitor_states_max: int = Field(default=200, ge=1)
    visitor_sockets_per_address: int = Field(default=100, ge=1)
    visitor_sockets_max: int = Field(default=500, ge=1)
    sockets_max: int = Field(default=10_000, ge=1)
    connections_max: int = Field(default=12_000, ge=1)
    requests_max: int = Field(default=2_000, ge=1)
    header_seconds: float = Field(default=75.0, gt=0, le=600)
    drain_seconds: float = Field(default=1.0, ge=0, le=60)
    stop_seconds: int = Field(default=35, ge=1, le=600)
    body_seconds: float = Field(default=15.0, gt=0, le=600)
    search_seconds: float = Field(default=1.0, gt=0, le=10)
    log_format: LogFormat = LogFormat.AUTO
    slow_request_seconds: float = Field(default=2.0, gt=0, le=600)
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    metrics_host: str = "127.0.0.1"
    billing_demo: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the Stripe key is of the live mode: real money."""
        key = self.stripe_secret_key
        return key is not None and key.get_secret_value().startswith(LIVE_KEY_PREFIXES)

    @property
    def stripe_rate(self) -> int | None:
        """Requests to Stripe a second, for all processes; None: the sandbox has no limit."""
        if self.stripe_requests_per_second is not None or self.uses_sandbox:
            return self.stripe_requests_per_second
        return STRIPE_LIVE_RATE if self.is_live else STRIPE_TEST_RATE

    @field_validator("public_url")
    @classmethod
    def _without_trailing_slash(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("public_org_id")
    @classmethod
    def _can_be_named(cls, value: str) -> str:
        """Requests must be able to name it, and they cannot contain control characters."""
        if value != value.strip() or not value.isprintable():
            raise ValueError("must not begin or end with spaces, or contain control characters")
        return value

    @field_validator("sweep_seconds")
    @classmethod
    def _part_of_a_minute(cls, value: int) -> int:
        """Sweeps are at the same seconds of each minute."""
        if 60 % value:
            raise ValueError("must divide 60")
        return value

    @field_validator("event_retention_months")
    @classmethod
    def _long_enough(cls, value: int | None) -> int | None:
        if value is not None and value < EVENT_RETENTION_MONTHS_MIN:
            raise ValueError(
                f"must be at least {EVENT_RETENTION_MONTHS_MIN}: receipts and refunds need events"
            )
        return value

    @field_validator("daily_retention_months")
    @classmethod
    def _not_before_events(cls, value: int | None, info: ValidationInfo) -> int | None:
        """Days are verified against events."""
        events = info.data.get("event_retention_months")
        if value is not None and value < DAILY_RETENTION_MONTHS_MIN:
            raise ValueError(
                f"must be at least {DAILY_RETENTION_MONTHS_MIN}: pages compare with a year ago"
            )
        if value is not None and (events is None or value < events):
            raise ValueError("must not be shorter than EVENT_RETENTION_MONTHS, which must be set")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses_only(cls, value: str) -> str:
        """Anybody may claim a name, and with `*` any address."""
        named = [part.strip() for part in value.split(",") if part.strip()]
        try:
            networks = [ip_network(part, strict=False) for part in named]
        except ValueError:
            raise ValueError(
                "must be addresses or networks parted by commas, such as 10.0.0.5, 10.1.0.0/16"
            ) from None
        if not all(network.prefixlen for network in networks):
            raise ValueError("must not hold every address: anybody could then choose theirs")
        return ",".join(map(str, networks))

    @field_validator("portal_return_origins", "portal_frame_origins")
    @classmethod
    def _origins_only(cls, value: str) -> str:
        origins = [part.strip().lower() for part in value.split(",") if part.strip()]
        if not all(ORIGIN.fullmatch(origin) for origin in origins):
            raise ValueError(
                "must be origins parted by commas, such as https://app.example.com, without a path"
            )
        return ",".join(origins)

    @field_validator("database_url")
    @classmethod
    def _postgresql_only(cls, value: str | None) -> str | None:
        """Drop a driver name from the scheme: the app chooses its drivers itself."""
        if not value:
            return None
        if not DATABASE_SCHEME.match(value):
            raise ValueError("must start with postgresql://")
        if not _is_encoded(value):
            raise ValueError(
                "in user, password and database name, write @ : / ? # % as %40 %3A %2F %3F %23 %25"
            )
        url = DATABASE_SCHEME.sub("postgresql://", value)
        try:
            conninfo_to_dict(url)
        except (ProgrammingError, UnicodeDecodeError):
            raise ValueError("must be a valid PostgreSQL URL") from None
        return url

    @field_validator("mail_from")
    @classmethod
    def _sender_of_mail(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("smtp_host") and not value:
            raise ValueError("must be set to the sender's address when SMTP_HOST is set")
        if value and not _is_one_mailbox(value):
            raise ValueError(
                "must look like billing@example.com or Billing <billing@example.com>; quote names"
                ' with punctuation: "Billing, Inc" <billing@example.com>'
            )
        return value

    @field_validator("smtp_password")
    @classmethod
    def _with_its_user(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (value is None) != (info.data.get("smtp_username") is None):
            raise ValueError("set SMTP_USERNAME and SMTP_PASSWORD together, or neither")
        return value

    @field_validator("smtp_host")
    @classmethod
    def _without_brackets(cls, value: str | None) -> str | None:
        return value.removeprefix("[").removesuffix("]") if value else None

    @property
    def return_origins(self) -> frozenset[str]:
        """Where portal links may lead back to."""
        return frozenset(self.portal_return_origins.split(",")) - {""}

    @property
    def frame_origins(self) -> frozenset[str]:
        """Which sites may show our pages in a frame."""
        return frozenset(self.portal_frame_origins.split(",")) - {""}

    @property
    def secure_cookies(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def uses_sandbox(self) -> bool:
        """Whether payments go to the bundled Stripe sandbox."""
        return self.stripe_api_base is not None


def _is_encoded(url: str) -> bool:
    """Whether special characters in the parts of a database URL are encoded."""
    before_host, _, after_host = url.partition("://")[2].rpartition("@")
    is_whole = not set("@/?#") & set(before_host) and "#" not in after_host
    return is_whole and BARE_PERCENT.search(url) is None


def _is_one_mailbox(text: str) -> bool:
    """Whether this is the address of exactly one sender (RFC 5322)."""
    if not text.isprintable():
        return False
    header = default.header_factory("from", text)
    is_plain = len(header.groups) == 1 and header.groups[0].display_name is None
    return is_plain and not header.defects and bool(header.addresses[0].domain)


def enter_demo(port: int = 3000) -> None:
    """Set the demo's defaults where environment and .env are silent, for child processes too.

    Raises SettingsError when a live Stripe key is set: the demo never touches real money.
    """
    given = _given()
    secret_key = given.get("STRIPE_SECRET_KEY", "").strip()
    if secret_key.startswith(LIVE_KEY_PREFIXES):
        raise SettingsError([LIVE_KEY_REFUSED])
    site = f"http://localhost:{port}"
    origins = ",".join([site, *DEMO_PRODUCTS])
    defaults = DEMO_DEFAULTS | {"PUBLIC_URL": site, "PORTAL_RETURN_ORIGINS": origins}
    if not secret_key:
        defaults |= SANDBOX_DEFAULTS
    if not given.get("SMTP_HOST"):
        defaults["MAIL_DIRECTORY"] = str(_data_directory(given) / DEMO_MAIL_DIRECTORY)
    os.environ.update({name: value for name, value in defaults.items() if not given.get(name)})
    os.environ[DEMO_FLAG] = "1"
    load_settings.cache_clear()


def enter_demo_of_data() -> None:
    """Enter the demo if the embedded database holds demo data, so that maintenance commands need
    no settings."""
    given = _given()
    directory = _data_directory(given)
    if given.get("DATABASE_URL") or not (directory / DEMO_KEY_FILE).exists():
        return
    enter_demo()
    sandbox_file = directory / DEMO_SANDBOX_FILE
    if load_settings().uses_sandbox and sandbox_file.exists():
        use_sandbox_at(sandbox_file.read_text())


def _given() -> dict[str, str]:
    """The environment, then .env; names in upper case."""
    given = {name.upper(): value or "" for name, value in dotenv_values(ENV_FILE).items()}
    return given | {name.upper(): value for name, value in os.environ.items()}


def _data_directory(given: dict[str, str]) -> Path:
    return Path(given.get("DATA_DIRECTORY") or DATA_DIRECTORY)


def use_sandbox_at(address: str) -> None:
    """Send payments, those of child processes too, to the sandbox at this address."""
    os.environ["STRIPE_API_BASE"] = address
    load_settings.cache_clear()


@cache
def load_settings() -> Settings:
    """Read the settings once. Raises SettingsError with one line for each invalid value."""
    try:
        return Settings()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        raise SettingsError([_line(dict(detail)) for detail in error.errors()]) from None


def traces_are_wanted() -> bool:
    """By the variables that OpenTelemetry's own SDK reads from the environment (not from .env)."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_elsewhere = os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return any(map(os.environ.get, endpoints)) and not (is_disabled or is_elsewhere)


def traces_sampler_is_set() -> bool:
    return bool(os.environ.get("OTEL_TRACES_SAMPLER"))


def _line(detail: dict[str, object]) -> str:
    location = detail["loc"]
    name = str(location[0] if isinstance(location, tuple) and location else "settings").upper()
    if detail["type"] == "missing":
        return (
            f"{name} is not set. Set it in the environment or in .env (docs/reference/settings.md)."
        )
    explained = str(detail["msg"]).removeprefix("Value error, ")
    return f"{name} is not valid: {explained}"
