"""Live pages: they poll for changes and refresh while they are open."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import reflex as rx
import structlog
from redis.exceptions import RedisError
from reflex.event import EventCallback, EventSpec
from reflex.utils.prerequisites import get_app
from reflex_base.utils.exceptions import LockExpiredError

from billing_app.billing.account_version import read_account_version
from billing_app.billing.actors import PersonActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.usage import service as usage
from billing_app.billing.usage.filters import ALL_USAGE, UsageFilter
from billing_app.billing.usage.service import DailyRow, Days, GroupBy
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.bell import BellState
from billing_app.states.session import SessionState, patience
from billing_app.states.views import AccountChoice

# Also without news: for what only time changes, and what an account's version does not cover.
READ_AGAIN = timedelta(seconds=6)
OUTAGES: Final = (RedisError, LockExpiredError)
RELOAD: Final = "window.location.reload()"
# Of the versions of all accounts that are looked at.
MAX_SHARED = 64

log = structlog.get_logger(__name__)


if TYPE_CHECKING:
    Page = SessionState
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


class LivePage(Page, mixin=True):
    """Reads when the page opens, and again while it is open.

    A page's state inherits from this and from SessionState, and implements `_read`.
    """

    is_ready: rx.Field[bool] = rx.field(False)
    is_broken: rx.Field[bool] = rx.field(False)
    has_account: rx.Field[bool] = rx.field(True)
    read_at: rx.Field[str] = rx.field("")
    _read_at: datetime | None = None
    _version: str = ""

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        """Ask the billing service and `_show` the answers."""
        raise NotImplementedError

    def _background_events(self) -> list[EventCallback[()]]:
        """Slow reads that start in the background when the page opens."""
        return []

    def _events_beside(self) -> list[EventCallback[()]]:
        """None without an account: staff have none of their own."""
        return self._background_events() if self.has_account and not self.is_broken else []

    @rx.event
    async def load(self) -> EventSpec | list[EventCallback[()]]:
        """The page was opened, or another account was chosen."""
        self._visit += 1
        leave = await self._refresh()
        # Chained, not listed beside `load`: events of a page's opening don't wait for each other,
        # and `watch` must see this visit's number.
        return leave or [type(self).watch, *self._events_beside()]

    @rx.event(background=True)
    async def watch(self) -> AsyncGenerator[EventSpec | list[EventCallback[()]]]:
        """Refresh until the tab closes, goes to another page, or the session ends."""

        async def read() -> Poll:
            was_broken = self.is_broken
            leave = await self._refresh(only_news=True)
            if leave is not None:
                return Poll(leave, is_last=True)
            return Poll(self._events_beside() if was_broken else None)

        async for events in poll(self, read):
            yield events

    async def _refresh(self, *, only_news: bool = False) -> EventSpec | None:
        try:
            async with patience():
                return await self._read_all(only_news=only_news)
        except Exception as error:
            # The page keeps what it shows, says that it is out of date, and tries again.
            write = log.warning if self.is_broken else log.exception
            write("page_read_failed", page=self.__class__.__name__, error=type(error).__name__)
            at = formatting.moment(self._read_at) if self._read_at else ""
            self._show(is_broken=True, read_at=at)
        return None

    async def _read_all(self, *, only_news: bool) -> EventSpec | None:
        actor = await self._actor()
        leave = self._leave(actor)
        if actor is None or leave is not None:
            return leave
        if not await self._has_news(actor) and only_news and self._is_fresh():
            return None
        known_id = self.account.account_id
        account = await self._sync_account(actor)
        if account is not None:
            if account.account_id != known_id:
                self._version = ""
            await self._show_banner(actor, account, datetime.now(UTC))
            await (await self.get_state(BellState)).refresh(actor)
            await self._read(actor, account)
        self._read_at = datetime.now(UTC)
        self._show(is_broken=False, is_ready=True, has_account=account is not None)
        return None

    def _is_fresh(self) -> bool:
        age = datetime.now(UTC) - self._read_at if self._read_at else READ_AGAIN
        return not self.is_broken and age < READ_AGAIN

    async def _has_news(self, actor: PersonActor) -> bool:
        """Whether something of the account was written since the last reading. The version is
        read before what it stands for: a write in between shows the next time."""
        now, account_id = datetime.now(UTC), self.account.account_id
        if not account_id:
            return True
        try:
            version = await read_account_version(get_services().database, actor, account_id, now)
        except AccountNotFoundError:
            version = ""
        is_news = version != self._version or not version
        self._show(_version=version)
        return is_news

    async def _read_daily(
        self,
        actor: PersonActor,
        account: AccountChoice,
        days: Days,
        group_by: GroupBy,
        where: UsageFilter = ALL_USAGE,
    ) -> list[DailyRow]:
        """As usage.read_daily, shared by all tabs of this process that know the account's version:
        only who may read the account gets to know it. A page has thousands of no other rows."""
        database, account_id = get_services().database, account.account_id
        key = (account_id, self._version, days, group_by, where)
        rows = _daily_rows.get(key) if self._version else None
        if rows is None:
            rows = await usage.read_daily(
                database, actor, account_id, days=days, group_by=group_by, where=where
            )
            if self._version:
                if len(_daily_rows) >= MAX_SHARED:
                    del _daily_rows[next(iter(_daily_rows))]
                _daily_rows[key] = rows
        return rows


_daily_rows: dict[tuple[str, str, Days, GroupBy, UsageFilter], list[DailyRow]] = {}


@dataclass(frozen=True, slots=True)
class Poll:
    """What one reading of an open page starts; `is_last` ends the polling."""

    events: EventSpec | list[EventCallback[()]] | None = None
    is_last: bool = False


async def poll(
    page: SessionState, read: Callable[[], Awaitable[Poll]], *, polls: int = 1
) -> AsyncGenerator[EventSpec | list[EventCallback[()]]]:
    """Read until the tab closes, goes to another page, or the last reading.

    An outage of Redis, which keeps the state of pages, is waited out. A tab whose state is gone
    then is loaded again.
    """
    async with page:
        visit, token = page._visit, page.router.session.client_token  # noqa: SLF001
    was_out = False
    while await is_connected(token):
        await pause(polls=polls, is_broken=getattr(page, "is_broken", False))
        try:
            async with page:
                current = page._visit  # noqa: SLF001
                found = await read() if current == visit else Poll(is_last=True)
        except OUTAGES as error:
            if not was_out:
                log.warning("page_state_unreachable", error=type(error).__name__)
            was_out = True
            continue
        if was_out and not current:
            found = Poll(rx.call_script(RELOAD), is_last=True)
        if found.events:
            yield found.events
        if found.is_last:
            return


async def pause(*, polls: int = 1, is_broken: bool) -> None:
    """Between two readings of an open page."""
    settings = get_services().settings
    await asyncio.sleep(
        settings.page_retry_seconds if is_broken else polls * settings.page_poll_seconds
    )


async def is_connected(token: str) -> bool:
    """Whether the tab is still connected, to whichever worker."""
    namespace = get_app().app.event_namespace
    return await namespace._token_manager.is_token_connected(token)  # noqa: SLF001
