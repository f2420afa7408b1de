"""The routes of the API, each with its types, and requests to them that can be sent again.

The tests compare them with the server's OpenAPI document, both ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

import msgspec

from . import answers, bodies, provisioned

Answer_co = TypeVar("Answer_co", covariant=True)

MAX_KEY_LENGTH: Final = 255
_encoder: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Operation(Generic[Answer_co]):
    """One request, the same each time it is sent.

    `is_repeatable`: sending it again does no harm, whatever became of it before.
    """

    route: "Route[Answer_co]"
    path: str
    query: Mapping[str, Any]
    content: bytes
    idempotency_key: str | None
    is_repeatable: bool

    def at(self, cursor: str) -> "Operation[Answer_co]":
        """The same list from `cursor` on."""
        return replace(self, query={**self.query, "cursor": cursor})


@dataclass(frozen=True, slots=True)
class Route(Generic[Answer_co]):
    """`answer` None: there is no body. `is_streamed`: it is text, read as it arrives."""

    method: str
    path: str
    answer: type[Answer_co]
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    takes_key: bool = False
    is_repeatable: bool = True
    is_streamed: bool = False
    decoder: "msgspec.json.Decoder[Answer_co]" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder", msgspec.json.Decoder(self.answer))

    def operation(
        self,
        *ids: str,
        body: msgspec.Struct | None = None,
        query: msgspec.Struct | None = None,
        key: str | None = None,
    ) -> Operation[Answer_co]:
        """`ids` fill the path in order. Raises ValueError for a key that no header can hold."""
        if key is not None:
            check_key(key)
        return Operation(
            self,
            _filled(self.path, ids) if ids else self.path,
            _parameters(query) if query is not None else {},
            _encoder.encode(body) if body is not None else b"",
            key,
            self.is_repeatable,
        )


def new_key() -> str:
    return uuid4().hex


def check_key(key: str) -> None:
    """Raises ValueError."""
    is_sendable = key.isascii() and key.isprintable() and key.strip() == key
    if not is_sendable or not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise ValueError(f"A key has 1 to {MAX_KEY_LENGTH} printable ASCII characters: {key!r}")


def _filled(path: str, ids: tuple[str, ...]) -> str:
    """`.` is escaped as well: `..` would lead to another route."""
    parts = iter(ids)
    return "/".join(
        quote(next(parts), safe="").replace(".", "%2E") if part.startswith("{") else part
        for part in path.split("/")
    )


def _parameters(query: msgspec.Struct) -> dict[str, Any]:
    return msgspec.to_builtins(query)


CHECK: Final = Route(
    "POST",
    "/billing/plans/check-executions",
    answers.CheckAnswer,
    body=bodies.CheckExecutions,
    takes_key=True,
)
COMMIT: Final = Route(
    "POST",
    "/billing/reservations/{id}/commit",
    answers.SettleAnswer,
    body=bodies.CommitReservation,
)
RELEASE: Final = Route("POST", "/billing/reservations/{id}/release", answers.SettleAnswer)
REFUND: Final = Route(
    "POST",
    "/billing/executions/{event_id}/refund",
    answers.RefundAnswer,
    body=bodies.RefundExecutions,
    takes_key=True,
)
RECEIPT: Final = Route("GET", "/billing/executions/{event_id}", answers.Receipt)


class BatchResults(msgspec.Struct, frozen=True):
    """Answers and problems, each with its `status`; told apart when they are read."""

    results: list[msgspec.Raw]


CHECK_BATCH: Final = Route(
    "POST", "/billing/plans/check-executions/batch", BatchResults, body=bodies.CheckBatch
)
CURRENT_PLAN: Final = Route(
    "GET", "/billing/plans/current", answers.CurrentPlan, query=bodies.AccountQuery
)
PLAN_HISTORY: Final = Route(
    "GET", "/billing/plans/history", answers.Page[answers.PlanView], query=bodies.PageQuery
)
USAGE: Final = Route("GET", "/billing/usage", answers.Usage, query=bodies.UsageQuery)
USAGE_EVENTS: Final = Route(
    "GET", "/billing/usage/events", answers.Page[answers.UsageEvent], query=bodies.EventsQuery
)
USAGE_EXPORT: Final = Route(
    "GET", "/billing/usage/export.csv", str, query=bodies.ExportQuery, is_streamed=True
)
ACCOUNT_HISTORY: Final = Route(
    "GET", "/billing/account-history", answers.AccountHistory, query=bodies.PageQuery
)
OFFERS: Final = Route("GET", "/billing/offers", answers.Offers)
SUBSCRIBE: Final = Route(
    "POST",
    "/billing/subscriptions",
    answers.BegunSubscription,
    body=bodies.Subscribe,
    is_repeatable=False,
)
CURRENT_SUBSCRIPTION: Final = Route(
    "GET",
    "/billing/subscriptions/current",
    answers.CurrentSubscription,
    query=bodies.AccountQuery,
)
CHANGE_SUBSCRIPTION: Final = Route(
    "PUT",
    "/billing/subscriptions/{subscription_id}",
    answers.Subscription,
    body=bodies.ChangeOffer,
    is_repeatable=False,
)
CANCEL_SUBSCRIPTION: Final = Route(
    "DELETE",
    "/billing/subscriptions/{subscription_id}",
    answers.Subscription,
    query=bodies.CancelQuery,
    is_repeatable=False,
)
PREVIEW_CHANGE: Final = Route(
    "POST",
    "/billing/subscriptions/{subscription_id}/preview",
    answers.ChangePreview,
    body=bodies.ChangeOffer,
)
RESUME_SUBSCRIPTION: Final = Route(
    "POST",
    "/billing/subscriptions/{subscription_id}/resume",
    answers.Subscription,
    is_repeatable=False,
)
OPEN_PORTAL: Final = Route(
    "POST", "/billing/portal-sessions", answers.PortalSession, body=bodies.OpenPortal
)
OVERAGE_LIMIT: Final = Route(
    "GET", "/billing/overage-limit", answers.OverageLimit, query=bodies.AccountQuery
)
SET_OVERAGE_LIMIT: Final = Route(
    "PUT",
    "/billing/overage-limit",
    answers.OverageLimit,
    body=bodies.SetOverageLimit,
    query=bodies.AccountQuery,
)
TOP_UP: Final = Route("GET", "/billing/top-up", answers.CurrentTopUp, query=bodies.AccountQuery)
SWITCH_ON_TOP_UP: Final = Route(
    "PUT",
    "/billing/top-up",
    answers.TopUp,
    body=bodies.SwitchOnTopUp,
    query=bodies.AccountQuery,
    is_repeatable=False,
)
SWITCH_OFF_TOP_UP: Final = Route("DELETE", "/billing/top-up", type(None), query=bodies.AccountQuery)
PUT_ORGANIZATION: Final = Route(
    "PUT",
    "/billing/organizations/{external_id}",
    provisioned.Organization,
    body=bodies.PutOrganization,
)
ORGANIZATION: Final = Route("GET", "/billing/organizations/{external_id}", provisioned.Organization)
ORGANIZATIONS: Final = Route(
    "GET", "/billing/organizations", answers.Page[provisioned.Organization], query=bodies.ListQuery
)
CLOSE_ORGANIZATION: Final = Route(
    "POST", "/billing/organizations/{external_id}/close", provisioned.Organization
)
PUT_USER: Final = Route(
    "PUT", "/billing/users/{external_id}", provisioned.User, body=bodies.PutUser
)
USER: Final = Route("GET", "/billing/users/{external_id}", provisioned.User)
GRANT_PLAN: Final = Route(
    "POST", "/billing/plans", provisioned.GrantedPlan, body=bodies.GrantPlan, takes_key=True
)
CREATE_PORTAL_LINK: Final = Route(
    "POST", "/billing/portal-links", provisioned.PortalLink, body=bodies.CreatePortalLink
)
