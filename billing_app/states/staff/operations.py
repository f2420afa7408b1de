"""Operations: received webhooks, reconciliation, background jobs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

import reflex as rx
from reflex.event import EventSpec

from billing_app.billing.actors import StaffActor
from billing_app.billing.lists.paging import Page
from billing_app.billing.lists.sorting import By
from billing_app.billing.staff.customers.customers import read_names
from billing_app.billing.staff.operations.jobs import (
    JobQuery,
    JobSort,
    JobState,
    JobsUnavailableError,
    JobView,
    list_jobs,
    retry_job,
)
from billing_app.billing.staff.operations.provider_events import (
    EventQuery,
    EventSort,
    ReceivedEvent,
    events_ahead,
    list_received,
    replay_event,
)
from billing_app.billing.staff.operations.reconciliations import (
    DifferenceQuery,
    DifferenceSort,
    FoundDifference,
    ReconciliationSort,
    ReconciliationView,
    list_differences,
    list_reconciliations,
    run_reconciliation,
)
from billing_app.composition import get_services
from billing_app.db.enums import WebhookState
from billing_app.jobs.staff import get_jobs
from billing_app.states import formatting
from billing_app.states.session import SessionState
from billing_app.states.staff.audit_entries import JOB_STATES, WEBHOOK_STATES
from billing_app.states.staff.listing import Listing, Table, filter_key
from billing_app.states.staff.page import Notice, StaffPage
from billing_app.states.staff.views import (
    ComparisonLine,
    DifferenceLine,
    JobLine,
    WebhookLine,
)

STATE, TYPE, NAME, WHAT = "state", "type", "name", "what"
IGNORED = "ignored"
IGNORED_LABEL: Final = ("Ignored", "")
KIND, OUTCOME = "kind", "outcome"
WEBHOOKS, COMPARING, JOBS = "webhooks", "reconciliation", "jobs"
PARTS: Final = (WEBHOOKS, COMPARING, JOBS)
COMPARISONS, DIFFERENCES = "comparisons", "differences"
REPLAY, RECONCILE, RETRY = "replay", "reconcile", "retry"
DIALOGS: Final = frozenset({REPLAY, RECONCILE, RETRY})
MAX_PROBLEM_LENGTH: Final = 160
MAX_FILTER: Final = 32


class StaffOperationsState(Listing, StaffPage, SessionState):
    """The open tab and the open dialog."""

    refresh_polls = 2
    tables: ClassVar[dict[str, Table]] = {
        WEBHOOKS: Table(By(EventSort.RECEIVED, descending=True), frozenset({EventSort.TYPE})),
        COMPARISONS: Table(By(ReconciliationSort.BEGAN, descending=True)),
        DIFFERENCES: Table(By(DifferenceSort.FOUND), frozenset(DifferenceSort)),
        JOBS: Table(By(JobSort.CREATED, descending=True)),
    }

    part: rx.Field[str] = rx.field(WEBHOOKS)
    webhooks: rx.Field[list[WebhookLine]] = rx.field(default_factory=list)
    comparisons: rx.Field[list[ComparisonLine]] = rx.field(default_factory=list)
    differences: rx.Field[list[DifferenceLine]] = rx.field(default_factory=list)
    last_began: rx.Field[str] = rx.field("")
    whole_since: rx.Field[str] = rx.field("")
    jobs: rx.Field[list[JobLine]] = rx.field(default_factory=list)
    has_no_worker: rx.Field[bool] = rx.field(False)
    adoption_advice: rx.Field[str] = rx.field("")
    dialog: rx.Field[str] = rx.field("")
    target: rx.Field[str] = rx.field("")

    @rx.event
    async def choose_part(self, part: str) -> EventSpec | None:
        """Open another tab."""
        self._show(part=part if part in PARTS else WEBHOOKS)
        self._start_over()
        return await self._refresh()

    @rx.event
    def ask(self, dialog: str, target: str) -> None:
        """Open a dialog."""
        known = dialog if dialog in DIALOGS else ""
        self._show(dialog=known, target=target[:255], notice=Notice())

    @rx.event
    def close(self) -> None:
        """Close the dialog without doing anything."""
        if self.dialog:
            self._show(dialog="", notice=Notice())

    @rx.event
    async def replay(self, form: dict[str, Any]) -> EventSpec | None:
        """Replay a dead letter."""
        event_id, reason = self.target, str(form.get("reason", ""))

        async def work(staff: StaffActor, now: datetime) -> str:
            database = get_services().database
            await replay_event(database, get_jobs(), staff, event_id, reason=reason, now=now)
            ahead = await events_ahead(database, staff, event_id)
            return replayed(ahead)

        return await self._carry_out(REPLAY, work)

    @rx.event
    async def reconcile(self, form: dict[str, Any]) -> EventSpec | None:
        """Compare with the provider in the background."""
        reason, is_dry = str(form.get("reason", "")), form.get("mode") == "tell"

        async def work(staff: StaffActor, now: datetime) -> str:
            database = get_services().database
            return await run_reconciliation(
                database, get_jobs(), staff, dry_run=is_dry, reason=reason, now=now
            )

        return await self._carry_out(
            RECONCILE, work, "Reconciliation is running. Its results will appear here."
        )

    @rx.event
    async def retry(self, form: dict[str, Any]) -> EventSpec | None:
        """Retry a failed job."""
        job_id, reason = self.target, str(form.get("reason", ""))

        async def work(staff: StaffActor, now: datetime) -> str:
            database = get_services().database
            return await retry_job(database, get_jobs(), staff, job_id, reason=reason, now=now)

        return await self._carry_out(RETRY, work, "The job is running again.")

    def _open(self) -> None:
        """Closes a dialog that was left open, and shows the list that the URL names."""
        self._show(dialog="")
        query = self.router.url.query_parameters
        part = query.get("part", "")
        if part in PARTS:
            named = {name: query.get(name, "")[:MAX_FILTER] for name in (STATE, TYPE)}
            filters = {filter_key(part, name): value for name, value in named.items() if value}
            self._show(part=part, filters=filters)

    async def _carry_out(self, dialog: str, work: Any, text: str = "") -> EventSpec | None:
        """Once: success closes the dialog, and a second press finds it closed. Without a `text`,
        what the work answers is shown."""
        if self.dialog != dialog:
            return None
        self._show(notice=Notice())
        answer = await self._ask(work)
        if answer is None:
            return None
        self._show(dialog="", notice=Notice(text or answer))
        return await self._refresh()

    async def _read(self, staff: StaffActor) -> None:
        read = {
            WEBHOOKS: self._read_webhooks,
            COMPARING: self._read_comparisons,
            JOBS: self._read_jobs,
        }
        await read[self.part](staff)
        self._show(adoption_advice=await get_services().installation.advice())

    async def _read_webhooks(self, staff: StaffActor) -> None:
        services = get_services()

        async def read(**page: Any) -> Page[ReceivedEvent]:
            where = EventQuery(
                state=self._word(WEBHOOKS, STATE, WebhookState),
                ignored=self._text(WEBHOOKS, STATE) == IGNORED,
                type=self._text(WEBHOOKS, TYPE),
                days=self._days(WEBHOOKS),
            )
            return await list_received(services.database, services.links, staff, where, **page)

        events = await self._list(WEBHOOKS, read)
        names = await read_names(services.database, staff, [event.account_id for event in events])
        self._show(webhooks=[webhook_line(event, names) for event in events])

    async def _read_comparisons(self, staff: StaffActor) -> None:
        database = get_services().database

        async def read(**page: Any) -> Page[ReconciliationView]:
            return await list_reconciliations(
                database,
                staff,
                dry_run=self._yes(COMPARISONS, KIND),
                differs=self._yes(COMPARISONS, OUTCOME),
                **page,
            )

        async def read_differences(**page: Any) -> Page[FoundDifference]:
            where = DifferenceQuery(
                healed=self._yes(DIFFERENCES, STATE), what=self._text(DIFFERENCES, WHAT)
            )
            return await list_differences(database, staff, where, **page)

        last = (await list_reconciliations(database, staff, limit=1)).items
        differences = await self._list(DIFFERENCES, read_differences)
        comparisons = await self._list(COMPARISONS, read)
        self._show(
            comparisons=[_comparison(each) for each in comparisons],
            last_began=formatting.exact_moment(last[0].began_at) if last else "",
            whole_since=_whole_since(last[0]) if last else "",
            differences=[_difference(each, place) for place, each in enumerate(differences)],
        )

    async def _read_jobs(self, staff: StaffActor) -> None:
        async def read(**page: Any) -> Page[JobView]:
            where = JobQuery(
                state=self._word(JOBS, STATE, JobState),
                name=_job_name(self._text(JOBS, NAME)),
                days=self._days(JOBS),
            )
            return await list_jobs(get_jobs(), staff, where, **page)

        try:
            jobs = await self._list(JOBS, read)
        except JobsUnavailableError:
            self._show(has_no_worker=True, jobs=[])
            return
        self._show(has_no_worker=False, jobs=[job_line(job) for job in jobs])


def replayed(ahead: int) -> str:
    """What a replay waits for: a customer's events are processed one after another."""
    if not ahead:
        return "The event is being processed again."
    waits = formatting.counted(ahead, "other event")
    return f"The event is processed again after {waits} of the same customer."


def webhook_line(event: ReceivedEvent, names: Mapping[str, str]) -> WebhookLine:
    """`names`: of accounts, by id."""
    account_id = event.account_id or ""
    state, tone = IGNORED_LABEL if event.is_ignored else WEBHOOK_STATES[event.state]
    return WebhookLine(
        event_id=event.id,
        type=event.type,
        state=state,
        tone=tone,
        received=formatting.exact_moment(event.received_at),
        attempts=formatting.number(event.attempts),
        account_id=account_id,
        account=names.get(account_id, account_id),
        error=event.problem[:MAX_PROBLEM_LENGTH],
        provider_url=event.provider_url,
    )


def _whole_since(last: ReconciliationView) -> str:
    since = last.whole_since
    if since is None:
        return "Not all customers compared yet"
    return f"All customers compared since {formatting.exact_moment(since)} UTC"


def _comparison(row: ReconciliationView) -> ComparisonLine:
    if not row.differences:
        outcome, tone = "No differences", "good"
    elif row.dry_run:
        outcome, tone = (
            f"{formatting.counted(row.differences, 'difference')}, report only",
            "warning",
        )
    else:
        left = row.differences - row.healed
        differences = formatting.counted(row.differences, "difference")
        outcome, tone = (
            f"{differences}, {formatting.number(row.healed)} repaired",
            "bad" if left else "accent",
        )
    kind = "Report only" if row.dry_run else "Repair"
    return ComparisonLine(formatting.exact_moment(row.began_at), outcome, tone, kind)


def _difference(row: FoundDifference, place: int) -> DifferenceLine:
    return DifferenceLine(
        row=f"{place} {row.provider_id}",
        account_id=row.account_id,
        what=row.what.replace("_", " "),
        provider_id=row.provider_id,
        theirs=row.theirs,
        ours=row.ours,
        state="Repaired" if row.healed else "Open",
        tone="good" if row.healed else "warning",
    )


def job_line(job: JobView) -> JobLine:
    state, tone = JOB_STATES[job.state]
    return JobLine(
        job_id=job.id,
        name=job.name.replace("_", " ").capitalize(),
        state=state,
        tone=tone,
        subject=_subject(job.subject),
        created=formatting.exact_moment(job.created_at),
        attempts=formatting.number(job.attempts),
        problem=job.problem[:MAX_PROBLEM_LENGTH],
        can_retry=job.state in {JobState.FAILED, JobState.CANCELLED},
    )


def _job_name(typed: str | None) -> str | None:
    """The name of a job whose label was typed: "Top up" is top_up."""
    return "_".join(typed.lower().split()) if typed else None


def _subject(subject: str) -> str:
    """With its timestamps formatted."""
    return ", ".join(_moment_or(part) for part in subject.split(", "))


def _moment_or(part: str) -> str:
    try:
        return formatting.exact_moment(datetime.fromisoformat(part))
    except ValueError:
        return part
