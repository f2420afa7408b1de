"""Time: finds what is due on a clock and lets it happen, in order, each in its own savepoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from billing_app.stripe_sandbox.dates import HOUR_SECONDS
from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import checkout, collection, renewals, schedules
from billing_app.stripe_sandbox.resources.subscription_ends import expire_incomplete
from billing_app.stripe_sandbox.resources.subscription_items import period_end
from billing_app.stripe_sandbox.resources.subscription_states import LIVE, expire_pending_update
from billing_app.stripe_sandbox.world import World

_INCOMPLETE_SECONDS = 23 * HOUR_SECONDS
_MAX_STEPS = 20_000
Action = Callable[[World, str, int], object]


@dataclass(frozen=True, order=True)
class Due:
    """Something that happens to an object at a time; `rank` orders what happens together."""

    at: int
    rank: int
    identifier: str
    action: Action


def run_due(world: World, clock: str | None, until: int) -> int:
    """Lets everything due up to `until` happen. Returns how many things did."""
    for step in range(_MAX_STEPS):
        due = min(
            _all_due(world, clock, until), default=None, key=lambda d: (d.at, d.rank, d.identifier)
        )
        if due is None:
            return step
        _move_clock(world, clock, due.at)
        with world.store.savepoint():
            due.action(world, due.identifier, due.at)
    raise RuntimeError("time does not come to rest: an action stays due")


def _move_clock(world: World, clock: str | None, at: int) -> None:
    if clock is not None:
        stored = world.store.edit(clock)
        stored["_now"] = max(stored["_now"], at)


def _all_due(world: World, clock: str | None, until: int) -> Iterator[Due]:
    sources = (
        ("subscription", _of_subscription),
        ("invoice", _of_invoice),
        ("subscription_schedule", _of_schedule),
        ("checkout.session", _of_session),
    )
    for kind, moments in sources:
        for subject in world.store.all(kind):
            if _clock_of(world, subject) == clock:
                for at, rank, action in moments(subject):
                    if at is not None and at <= until:
                        yield Due(at, rank, subject["id"], action)


def _clock_of(world: World, subject: Json) -> str | None:
    if "test_clock" in subject:
        return subject["test_clock"]
    customer = world.store.find(subject.get("customer"))
    return customer["test_clock"] if customer else None


_Moments = Iterator[tuple[int | None, int, Action]]


def _of_subscription(subscription: Json) -> _Moments:
    if subscription["status"] == "incomplete":
        yield subscription["created"] + _INCOMPLETE_SECONDS, 0, expire_incomplete
    if subscription["status"] not in LIVE:
        return
    yield subscription["cancel_at"], 2, renewals.cancel_as_planned
    yield period_end(subscription), 3, renewals.end_period
    if subscription["status"] == "trialing" and not subscription.get("_trial_warned"):
        warning = subscription["trial_end"] - renewals.TRIAL_WARNING_SECONDS
        yield max(warning, subscription["trial_start"]), 0, renewals.warn_of_trial_end
    pause = subscription["pause_collection"]
    if pause:
        yield pause["resumes_at"], 0, renewals.resume_collection
    pending = subscription.get("_pending_update")
    if pending:
        yield pending["expires_at"], 0, expire_pending_update


def _of_invoice(invoice: Json) -> _Moments:
    if invoice["status"] == "draft" and not invoice.get("_deleted"):
        yield invoice["automatically_finalizes_at"], 4, renewals.finalize_due
    if invoice["status"] == "open":
        yield invoice["next_payment_attempt"], 5, collection.retry


def _of_schedule(schedule: Json) -> _Moments:
    if schedule["status"] in ("active", "not_started"):
        yield schedules.next_moment(schedule), 1, schedules.advance


def _of_session(session: Json) -> _Moments:
    if session["status"] == "open":
        yield session["expires_at"], 0, checkout.expire
