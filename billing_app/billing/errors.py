"""Domain errors, each with a stable code. They know nothing of HTTP."""

from datetime import datetime
from typing import ClassVar

from billing_app.billing.quantities import counted


class StorableError(Exception):
    """Comes back from a pickle as it was, whatever its constructor takes: DBOS stores the errors of
    jobs."""

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[StorableError], args: tuple[object, ...], attributes: dict[str, object]
) -> StorableError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class BillingError(StorableError):
    """Base of all. `code` never changes; `extensions` are numbers and ids that explain it."""

    code: ClassVar[str] = "billing_error"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str = "", **extensions: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extensions = extensions


class InvalidInputError(BillingError):
    code = "invalid_input"
    title = "Invalid request"


class IdempotencyKeyRequiredError(InvalidInputError):
    code = "idempotency_key_required"
    title = "Idempotency-Key required"


class IdempotencyKeyReusedError(InvalidInputError):
    code = "idempotency_key_reused"
    title = "Idempotency-Key already used for a different request"


class NotAuthenticatedError(BillingError):
    code = "not_authenticated"
    title = "Authentication required"


class ForbiddenError(BillingError):
    code = "forbidden"
    title = "Access denied"


class ScopeMissingError(ForbiddenError):
    code = "scope_missing"
    title = "API key scope missing"

    def __init__(self, *, scope: str) -> None:
        super().__init__(f"This API key does not have the scope {scope}.", scope=scope)


class WorkflowNotAllowedError(ForbiddenError):
    code = "workflow_not_allowed"
    title = "API key of another workflow"

    def __init__(self, *, workflow: str) -> None:
        super().__init__(f"This API key counts executions of {workflow} only.", workflow=workflow)


class NotFoundError(BillingError):
    code = "not_found"
    title = "Not found"


class OrganizationNotFoundError(NotFoundError):
    code = "organization_not_found"
    title = "Organization not found"


class UserNotFoundError(NotFoundError):
    code = "user_not_found"
    title = "User not found in this organization"


class AccountNotFoundError(NotFoundError):
    code = "account_not_found"
    title = "Account not found"


class ReservationNotFoundError(NotFoundError):
    code = "reservation_not_found"
    title = "Reservation not found"


class LeaseNotFoundError(NotFoundError):
    code = "lease_not_found"
    title = "Lease not found"


class EventNotFoundError(NotFoundError):
    code = "execution_not_found"
    title = "Execution not found"


class EventRemovedError(NotFoundError):
    """It is older than the events that are kept. What it used still counts."""

    code = "execution_removed"
    title = "Execution no longer kept"

    def __init__(self, *, kept_from: datetime) -> None:
        day = f"{kept_from.day} {kept_from:%B %Y}"
        super().__init__(
            f"Execution events from before {day} are no longer kept.", kept_from=kept_from
        )
        self.kept_from = kept_from


class ConflictError(BillingError):
    code = "conflict"
    title = "Conflict with the current state"


class AccountClosedError(ConflictError):
    code = "account_closed"
    title = "The account is closed"


class ReservationSettledError(ConflictError):
    code = "reservation_settled"
    title = "Reservation already committed or released"


class ReservationExpiredError(ConflictError):
    code = "reservation_expired"
    title = "Reservation expired"


class LeaseTokenInvalidError(ForbiddenError):
    code = "lease_token_invalid"
    title = "The token is not of this lease"


class LeaseExceededError(ConflictError):
    """Nothing of the report was counted. Staff see the difference."""

    code = "lease_exceeded"
    title = "More executions were reported than the lease holds"


class LeaseEndedError(ConflictError):
    """It was closed, or its settle window is over: nothing is held any more. Nothing of the report
    was counted, and staff see the difference."""

    code = "lease_ended"
    title = "The lease no longer holds executions"


class RefundExceedsError(ConflictError):
    code = "refund_exceeds_event"
    title = "Refund exceeds what can still be refunded"


class PlanUnknownError(NotFoundError):
    code = "plan_unknown"
    title = "Plan not found"


class AdjustmentExceedsError(ConflictError):
    code = "adjustment_exceeds_plan"
    title = "The plan does not have enough executions"


class EmailTakenError(ConflictError):
    code = "email_taken"
    title = "An account with this email address already exists"


class DeniedError(BillingError):
    """The executions are not allowed. Nothing was counted."""

    code = "denied"
    title = "Executions denied"

    def __init__(
        self,
        detail: str,
        *,
        remaining: int,
        requested: int,
        period_end: datetime | None,
        account_id: int | None = None,
    ) -> None:
        super().__init__(
            detail,
            allowed=False,
            executions_remaining=remaining,
            executions_requested=requested,
            period_end=period_end,
        )
        self.account_id = account_id


class InsufficientExecutionsError(DeniedError):
    code = "insufficient_executions"
    title = "Not enough executions left"


class PlanNotFoundError(DeniedError):
    code = "plan_not_found"
    title = "The account has no plan"


class TrialEndedError(DeniedError):
    code = "trial_ended"
    title = "The trial has ended"


class TooManyAttemptsError(BillingError):
    code = "too_many_attempts"
    title = "Too many attempts"

    def __init__(self, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"Too many attempts. Try again in {counted(retry_after_seconds, 'second')}.",
            retry_after_seconds=retry_after_seconds,
        )
        self.retry_after_seconds = retry_after_seconds


class PaymentPastDueError(DeniedError):
    code = "payment_past_due"
    title = "Payment overdue"


class BudgetExceededError(DeniedError):
    code = "budget_exceeded"
    title = "Overage limit reached"


class PlanPausedError(DeniedError):
    code = "plan_paused"
    title = "The plan is paused"


class AccountBlockedError(DeniedError):
    code = "account_blocked"
    title = "The account is blocked"


class CannotDecideError(BillingError):
    """The database did not answer in time. Whether anything was counted is unknown; a retry with
    the same key is safe."""

    code = "cannot_decide"
    title = "Cannot decide right now"
    retry_after_seconds = 1
