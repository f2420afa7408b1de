"""Idempotency keys: a retry gets the first answer; another request with the same key gets an error.

Source: https://docs.stripe.com/api/idempotent_requests. An answer is kept once the endpoint has
begun to execute, even if it is a server error; a refusal of the parameters is not kept.
"""

import hashlib
import json
from dataclasses import dataclass, field

from billing_app.stripe_sandbox.errors import Json, StripeError

_KEPT_SECONDS = 86_400
_LONGEST_KEY = 255


@dataclass(frozen=True)
class KeptAnswer:
    """The first answer under a key, and the fingerprint of the request that got it."""

    fingerprint: str
    status: int
    body: Json
    request_id: str
    kept_at: int


@dataclass
class IdempotencyKeys:
    """The answers kept by key, and the keys of requests that are still in progress."""

    answers: dict[str, KeptAnswer] = field(default_factory=dict)
    in_progress: set[str] = field(default_factory=set)

    def earlier(self, key: str, fingerprint: str, now: int) -> KeptAnswer | None:
        """The answer kept for the key. Raises if it is in use or belongs to another request."""
        if len(key) > _LONGEST_KEY:
            raise StripeError(
                400, "invalid_request_error", "Idempotency keys can be at most 255 characters long."
            )
        if key in self.in_progress:
            raise StripeError(
                409,
                "idempotency_error",
                "There is currently another in-progress request using this Idempotent Key.",
                code="idempotency_key_in_use",
            )
        kept = self.answers.get(key)
        if kept is None or kept.kept_at + _KEPT_SECONDS < now:
            return None
        if kept.fingerprint != fingerprint:
            raise StripeError(
                400,
                "idempotency_error",
                "Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request.",
            )
        return kept

    def keep(self, key: str, answer: KeptAnswer) -> None:
        self.answers[key] = answer


def fingerprint(method: str, path: str, params: Json) -> str:
    text = json.dumps([method, path, params], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
