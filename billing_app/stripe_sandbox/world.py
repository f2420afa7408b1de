"""The world a request acts on: the store, the time, the settings, and the events it causes."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from billing_app.stripe_sandbox.contract.answers import problems_of_answer
from billing_app.stripe_sandbox.contract.blank import blank
from billing_app.stripe_sandbox.contract.fits import Checked
from billing_app.stripe_sandbox.contract.sdk import API_VERSION
from billing_app.stripe_sandbox.copying import public
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.store import Store

PREFIXES = {
    "customer": "cus", "product": "prod", "price": "price", "coupon": "", "plan": "plan",
    "promotion_code": "promo", "payment_method": "pm", "payment_intent": "pi",
    "setup_intent": "seti", "subscription": "sub", "subscription_item": "si", "invoice": "in",
    "line_item": "il", "item": "li", "invoiceitem": "ii", "charge": "ch", "refund": "re",
    "dispute": "du", "checkout.session": "cs_test", "billing_portal.session": "bps",
    "billing_portal.configuration": "bpc", "billing.meter": "mtr_test",
    "test_helpers.test_clock": "clock", "webhook_endpoint": "we", "event": "evt",
    "discount": "di", "invoice_payment": "inpay", "subscription_schedule": "sub_sched",
    "customer_balance_transaction": "cbtxn", "billing.meter_event": "mev",
    "billing.meter_event_summary": "mtrusg_test", "tax_id": "txi",
}  # fmt: skip


@dataclass
class Settings:
    """A Stripe account's dashboard settings; `POST /_sandbox/settings` changes them."""

    retry_days: list[int] = field(default_factory=lambda: [3, 5, 7])
    after_last_retry: str = "cancel"  # cancel | unpaid | past_due
    webhook_retry_seconds: list[float] = field(default_factory=lambda: [1.0, 5.0, 30.0, 120.0])
    webhook_timeout_seconds: float = 10.0
    rate_limit_per_second: int = 0  # 0: no limit
    account_name: str = "Stripe sandbox"


def new_account_id() -> str:
    return f"acct_{secrets.token_hex(8)}"


@dataclass
class RequestContext:
    """The API request that causes events; empty when the passing of time causes them."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass
class World:
    """Everything that one sandbox holds and what its handlers need to act on it."""

    base_url: str
    account_id: str = field(default_factory=new_account_id)
    store: Store = field(default_factory=Store)
    settings: Settings = field(default_factory=Settings)
    context: RequestContext = field(default_factory=RequestContext)
    violations: list[Json] = field(default_factory=list)
    new_events: list[str] = field(default_factory=list)
    skipped_seconds: int = 0
    checked_copies: dict[str, tuple[int, Checked]] = field(default_factory=dict)
    agenda: dict[str, list[Any]] = field(default_factory=dict)  # object id -> `due.Due` entries

    def real_now(self) -> int:
        return int(time.time()) + self.skipped_seconds

    def now(self, subject: Json | None = None) -> int:
        """The time of the subject's test clock; the sandbox's own time if it has none."""
        clock_id = (subject or {}).get("test_clock")
        clock = self.store.find(clock_id)
        return clock["_now"] if clock else self.real_now()

    def new_id(self, name: str) -> str:
        prefix = PREFIXES[name]
        return f"{prefix}_{secrets.token_hex(9)}" if prefix else secrets.token_hex(4)

    def draft(self, name: str, /, **fields: Any) -> Json:
        """A new object, not stored."""
        return blank(name) | {"id": self.new_id(name)} | fields

    def create(self, name: str, /, **fields: Any) -> Json:
        return self.store.add(self.draft(name, **fields))

    def emit(
        self,
        kind: str,
        subject: Json,
        *,
        previous: Json | None = None,
        now: int | None = None,
    ) -> None:
        """Records an event with a snapshot of its object, to be sent to webhook endpoints."""
        data: Json = {"object": public(subject)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = self.create(
            "event",
            type=kind,
            data=data,
            api_version=API_VERSION,
            created=self.now(subject) if now is None else now,
            pending_webhooks=0,
            request={
                "id": self.context.request_id,
                "idempotency_key": self.context.idempotency_key,
            },
        )
        self.check_answer(data["object"], f"event {kind}")
        self.check_answer(event, f"event {kind}")
        self.new_events.append(event["id"])

    def emit_update(self, kind: str, subject: Json, *, now: int | None = None) -> None:
        """Emits `<kind>.updated` with what changed since the savepoint began, if anything did."""
        earlier = self.store.before(subject["id"])
        changed = differences(public(earlier), public(subject)) if earlier else {}
        if changed:
            self.emit(f"{kind}.updated", subject, previous=changed, now=now)

    def check_answer(self, answer: Json, where: str) -> None:
        for problem in problems_of_answer(answer)[:20]:
            self.violations.append({"where": where, "problem": problem})

    def note_change(self) -> None:
        """Wakes the background task after a change of anything but the stored objects."""
        self.store.on_write()

    def reset(self) -> None:
        """Forgets everything but whose account it is: objects, settings, violations, time."""
        self.store.load([])
        self.checked_copies.clear()
        self.violations.clear()
        self.settings, self.skipped_seconds = Settings(), 0
        self.note_change()

    def load(self, saved: Json) -> None:
        self.account_id = saved.get("account_id", self.account_id)
        self.store.load(saved["objects"])
        self.settings = Settings(**saved["settings"])
        self.skipped_seconds = saved["skipped_seconds"]


def differences(earlier: Json, later: Json) -> Json:
    """Stripe's `previous_attributes`: the earlier value of each changed field, maps in depth."""
    changed: Json = {}
    for key in earlier.keys() | later.keys():
        was, is_now = earlier.get(key), later.get(key)
        if was == is_now:
            continue
        if isinstance(was, dict) and isinstance(is_now, dict) and was.get("object") != "list":
            changed[key] = differences(was, is_now)
        else:
            changed[key] = was
    return changed


def list_object(data: list[Json], url: str) -> Json:
    return {"object": "list", "data": data, "has_more": False, "url": url}
