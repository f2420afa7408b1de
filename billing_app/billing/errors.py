"""What can go wrong, as named errors with a stable code. They know nothing of HTTP."""

from datetime import datetime
from typing import ClassVar


class BillingError(Exception):
    """Base of all. `code` never changes; `extensions` are the numbers and ids that explain it."""

    code: ClassVar[str] = "billing_error"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str = "", **extensions: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extensions = extensions


class InvalidInputError(BillingError):
    code = "invalid_input"
    title = "The request is not valid"


class IdempotencyKeyRequiredError(InvalidInputError):
    code = "idempotency_key_required"
    title = "An Idempotency-Key is required"


class IdempotencyKeyReusedError(InvalidInputError):
    code = "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request"


class NotAuthenticatedError(BillingError):
    code = "not_authenticated"
    title = "Who are you?"


class ForbiddenError(BillingError):
    code = "forbidden"
    title = "This is not yours"


class ScopeMissingError(ForbiddenError):
    code = "scope_missing"
    title = "The key lacks a scope"

    def __init__(self, *, scope: str) -> None:
        super().__init__(f"This key lacks the scope {scope}.", scope=scope)


class NotFoundError(BillingError):
    code = "not_found"
    title = "Not found"


class OrganizationNotFoundError(NotFoundError):
    code = "organization_not_found"
    title = "No such organization"


class UserNotFoundError(NotFoundError):
    code = "user_not_found"
    title = "No such user in this organization"


class AccountNotFoundError(NotFoundError):
    code = "account_not_found"
    title = "No such account"


class ReservationNotFoundError(NotFoundError):
    code = "reservation_not_found"
    title = "No such reservation"


class EventNotFoundError(NotFoundError):
    code = "execution_not_found"
    title = "No such execution"


class ConflictError(BillingError):
    code = "conflict"
    title = "The state has moved on"


class ReservationSettledError(ConflictError):
    code = "reservation_settled"
    title = "The reservation is settled already"


class ReservationExpiredError(ConflictError):
    code = "reservation_expired"
    title = "The reservation has expired"


class RefundExceedsError(ConflictError):
    code = "refund_exceeds_event"
    title = "More than there is to refund"


class PlanUnknownError(NotFoundError):
    code = "plan_unknown"
    title = "No such plan"


class AdjustmentExceedsError(ConflictError):
    code = "adjustment_exceeds_plan"
    title = "The plan has not so many executions to move"


class EmailTakenError(ConflictError):
    code = "email_taken"
    title = "This e-mail address has an account"


class DeniedError(BillingError):
    """Executions are not allowed. Nothing was counted."""

    code = "denied"
    title = "Denied"

    def __init__(
        self, detail: str, *, remaining: int, requested: int, period_end: datetime | None
    ) -> None:
        super().__init__(
            detail,
            allowed=False,
            executions_remaining=remaining,
            executions_requested=requested,
            period_end=period_end,
        )


class InsufficientExecutionsError(DeniedError):
    code = "insufficient_executions"
    title = "Not enough executions left"


class PlanNotFoundError(DeniedError):
    code = "plan_not_found"
    title = "There is no plan"


class TrialEndedError(DeniedError):
    code = "trial_ended"
    title = "The trial has ended"


class TooManyAttemptsError(BillingError):
    code = "too_many_attempts"
    title = "Too many attempts"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"Too many attempts. Try again in {retry_after_seconds} seconds.",
            retry_after_seconds=retry_after_seconds,
        )
        self.retry_after_seconds = retry_after_seconds


class PaymentPastDueError(DeniedError):
    code = "payment_past_due"
    title = "A payment is overdue"


class BudgetExceededError(DeniedError):
    code = "budget_exceeded"
    title = "The limit for executions beyond the plan is reached"


class PlanPausedError(DeniedError):
    code = "plan_paused"
    title = "The plan is paused"


class AccountBlockedError(DeniedError):
    code = "account_blocked"
    title = "The account is blocked"


class CannotDecideError(BillingError):
    """The database could not answer in time. Nothing is known to have been counted; a retry
    with the same key is safe."""

    code = "cannot_decide"
    title = "Cannot decide right now"
    retry_after_seconds = 1
