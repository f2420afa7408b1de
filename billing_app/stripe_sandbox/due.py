"""Time: finds what is due on a clock and makes it happen, in order, each step in a savepoint."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from billing_app.stripe_sandbox.errors import Json
from billing_app.stripe_sandbox.resources import checkout, collection, renewals, schedules
from billing_app.stripe_sandbox.resources.subscription_ends import expire_incomplete
from billing_app.stripe_sandbox.resources.subscription_items import period_end
from billing_app.stripe_sandbox.resources.subscription_states import INCOMPLETE_SECONDS, LIVE
from billing_app.stripe_sandbox.resources.update_invoices import expire_pending_update
from billing_app.stripe_sandbox.world import World

_MAX_STEPS = 20_000
Action = Callable[[World, str, int], object]
_Moments = Iterator[tuple[int | None, int, Action]]


@dataclass(frozen=True)
class Due:
    """Something that happens to an object at a time; `rank` breaks ties between moments."""

    at: int
    rank: int
    identifier: str
    action: Action


def run_due(world: World, clock: str | None, until: int) -> int:
    """Carries out everything that is due up to `until`. Returns the number of steps."""
    for step in range(_MAX_STEPS):
        due = _first_due(world, clock)
        if due is None or due.at > until:
            return step
        _move_clock(world, clock, due.at)
        with world.store.savepoint():
            due.action(world, due.identifier, due.at)
    raise RuntimeError("time does not come to rest: an action stays due")


def next_due_at(world: World, clock: str | None) -> int | None:
    """When something is due next on the clock."""
    due = _first_due(world, clock)
    return due.at if due else None


def _move_clock(world: World, clock: str | None, at: int) -> None:
    if clock is not None:
        stored = world.store.edit(clock)
        stored["_now"] = max(stored["_now"], at)


def _first_due(world: World, clock: str | None) -> Due | None:
    _update_agenda(world)
    ours = (
        due
        for identifier, entries in world.agenda.items()
        if _clock_of(world, world.store.objects[identifier]) == clock
        for due in entries
    )
    return min(ours, default=None, key=lambda due: (due.at, due.rank, due.identifier))


def _update_agenda(world: World) -> None:
    """Brings the agenda up to date with the objects written since the last call."""
    for identifier in world.store.take_written():
        subject = world.store.find(identifier)
        entries = [] if subject is None else _entries_of(subject)
        if entries:
            world.agenda[identifier] = entries
        else:
            world.agenda.pop(identifier, None)


def _entries_of(subject: Json) -> list[Due]:
    moments = _SOURCES.get(subject["object"])
    if moments is None:
        return []
    return [
        Due(at, rank, subject["id"], action)
        for at, rank, action in moments(subject)
        if at is not None
    ]


def _clock_of(world: World, subject: Json) -> str | None:
    if "test_clock" in subject:
        return subject["test_clock"]
    customer = world.store.find(subject.get("customer"))
    return customer["test_clock"] if customer else None


def _of_subscription(subscription: Json) -> _Moments:
    if subscription["status"] == "incomplete":
        yield subscription["created"] + INCOMPLETE_SECONDS, 0, expire_incomplete
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
        if invoice["collection_method"] == "send_invoice" and not invoice.get("_overdue"):
            yield invoice["due_date"], 5, collection.overdue


def _of_schedule(schedule: Json) -> _Moments:
    if schedule["status"] in ("active", "not_started"):
        yield schedules.next_moment(schedule), 1, schedules.advance


def _of_session(session: Json) -> _Moments:
    if session["status"] == "open":
        yield session["expires_at"], 0, checkout.expire


_SOURCES: dict[str, Callable[[Json], _Moments]] = {
    "subscription": _of_subscription,
    "invoice": _of_invoice,
    "subscription_schedule": _of_schedule,
    "checkout.session": _of_session,
}
