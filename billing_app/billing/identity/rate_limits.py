"""Limits of sign-in and password reset attempts: in Redis when configured, else per process."""

from typing import Final

from limits import parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter

from billing_app.billing.errors import TooManyAttemptsError

SIGN_IN_BY_EMAIL: Final = parse("10/5minute")
SIGN_IN_BY_ADDRESS: Final = parse("60/5minute")
SIGN_UP_BY_ADDRESS: Final = parse("20/hour")
PASSWORD_LINK_BY_EMAIL: Final = parse("5/hour")
PASSWORD_LINK_BY_ADDRESS: Final = parse("20/hour")
EMAIL_LINK_BY_PERSON: Final = parse("5/hour")
EMAIL_LINK_BY_EMAIL: Final = parse("5/hour")
EMAIL_LINK_BY_ADDRESS: Final = parse("20/hour")
RETRY_AFTER_SECONDS: Final = 300


class AttemptLimits:
    def __init__(self, redis_url: str | None) -> None:
        storage: Storage = RedisStorage(f"async+{redis_url}") if redis_url else MemoryStorage()
        self._limiter = MovingWindowRateLimiter(storage)

    async def check_sign_in(self, email: str, address: str) -> None:
        """Raises TooManyAttemptsError. Each call counts as an attempt."""
        allowed = await self._limiter.hit(SIGN_IN_BY_EMAIL, "sign-in-email", email)
        allowed &= await self._limiter.hit(SIGN_IN_BY_ADDRESS, "sign-in-address", address)
        self._require(allowed)

    async def check_sign_up(self, address: str) -> None:
        """Raises TooManyAttemptsError."""
        self._require(await self._limiter.hit(SIGN_UP_BY_ADDRESS, "sign-up", address))

    async def check_password_link(self, email: str, address: str) -> None:
        """Raises TooManyAttemptsError. Each call counts, whether or not a user has the address."""
        allowed = await self._limiter.hit(PASSWORD_LINK_BY_EMAIL, "password-link-email", email)
        allowed &= await self._limiter.hit(
            PASSWORD_LINK_BY_ADDRESS, "password-link-address", address
        )
        self._require(allowed)

    async def check_email_link(self, user_id: str, email: str, address: str) -> None:
        """Of links that confirm a new e-mail address. Raises TooManyAttemptsError. Each call
        counts."""
        allowed = await self._limiter.hit(EMAIL_LINK_BY_PERSON, "email-link-person", user_id)
        allowed &= await self._limiter.hit(EMAIL_LINK_BY_EMAIL, "email-link-email", email)
        allowed &= await self._limiter.hit(EMAIL_LINK_BY_ADDRESS, "email-link-address", address)
        self._require(allowed)

    def _require(self, allowed: bool) -> None:
        if not allowed:
            raise TooManyAttemptsError(retry_after_seconds=RETRY_AFTER_SECONDS)
