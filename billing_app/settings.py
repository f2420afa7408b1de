"""The one place that reads the environment."""

import os
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEMO_DEFAULTS: Final = {
    "TRIAL_PLAN_EXECUTIONS": "1000",
    "PUBLIC_ORG_ID": "public",
    "PUBLIC_URL": "http://localhost:3000",
}
SANDBOX_DEFAULTS: Final = {
    "STRIPE_SECRET_KEY": "sk_test_sandbox",
    "STRIPE_WEBHOOK_SECRET": "whsec_sandbox",
    "STRIPE_API_BASE": "http://127.0.0.1:12111",
}
DEMO_FLAG: Final = "BILLING_DEMO"
LIVE_KEY_PREFIXES: Final = ("sk_live_", "rk_live_")


class SettingsError(Exception):
    """The environment lacks a required value or holds a malformed one; one line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Settings(BaseSettings):
    """What the operator decides. Field names are the environment's, in lower case."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    trial_plan_executions: int = Field(ge=0, le=1_000_000_000)
    public_org_id: str = Field(min_length=1, max_length=255)
    trial_plan_days: int | None = Field(default=None, ge=1, le=3650)
    database_url: str | None = None
    data_directory: Path = Path(".data")
    public_url: str = "http://localhost:3000"
    stripe_secret_key: SecretStr | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_api_base: str | None = None
    payment_grace_days: int = Field(default=7, ge=0, le=90)
    reflex_redis_url: str | None = None
    session_days: int = Field(default=30, ge=1, le=365)
    idempotency_retention_days: int = Field(default=400, ge=1)
    billing_demo: bool = False

    @field_validator("public_url")
    @classmethod
    def _without_trailing_slash(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _postgresql_only(cls, value: str | None) -> str | None:
        if value and not value.startswith(("postgresql://", "postgres://")):
            raise ValueError("must start with postgresql://")
        return value or None

    @property
    def secure_cookies(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def uses_sandbox(self) -> bool:
        """Payments go to the project's own Stripe sandbox on this machine."""
        return self.stripe_api_base is not None


def enter_demo() -> None:
    """Fill what the environment lacks with the demo's values, for this process and its children.

    Raises SettingsError when a live Stripe key is set: the demo never touches real money.
    """
    if os.environ.get("STRIPE_SECRET_KEY", "").startswith(LIVE_KEY_PREFIXES):
        raise SettingsError(["STRIPE_SECRET_KEY: the demo refuses a live key"])
    for name, value in DEMO_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if "STRIPE_SECRET_KEY" not in os.environ:
        os.environ.update(SANDBOX_DEFAULTS)
    os.environ[DEMO_FLAG] = "1"
    load_settings.cache_clear()


@cache
def load_settings() -> Settings:
    """Read the environment once. Raises SettingsError with one line for each bad value."""
    try:
        return Settings()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        raise SettingsError([_line(dict(detail)) for detail in error.errors()]) from None


def _line(detail: dict[str, object]) -> str:
    location = detail["loc"]
    name = str(location[0] if isinstance(location, tuple) and location else "settings").upper()
    if detail["type"] == "missing":
        return f"{name} is not set. Set it in the environment or in .env (see README)."
    return f"{name} is not valid: {detail['msg']}"
