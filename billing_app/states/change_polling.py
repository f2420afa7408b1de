"""Pages whose numbers move by themselves."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import reflex as rx
import structlog
from reflex.event import EventCallback, EventSpec
from reflex.utils.prerequisites import get_app

from billing_app.billing.actors import PersonActor
from billing_app.billing.errors import AccountNotFoundError
from billing_app.billing.marks import read_mark
from billing_app.composition import get_services
from billing_app.states import formatting
from billing_app.states.session import SessionState, patience
from billing_app.states.views import AccountChoice

# Also without news: for what only time changes, and what the mark of an account does not cover.
READ_AGAIN = timedelta(seconds=6)

log = structlog.get_logger(__name__)


if TYPE_CHECKING:
    Page = SessionState
else:
    # Reflex copies the vars of a mixin only when it stands on rx.State itself.
    Page = rx.State


class LivePage(Page, mixin=True):
    """Reads when the page opens, and again while it is open.

    A page's state inherits from this and from SessionState, and says in `_read` what to read.
    """

    is_ready: rx.Field[bool] = rx.field(False)
    is_broken: rx.Field[bool] = rx.field(False)
    has_account: rx.Field[bool] = rx.field(True)
    read_at: rx.Field[str] = rx.field("")
    _read_at: datetime | None = None
    _mark: str = ""

    async def _read(self, actor: PersonActor, account: AccountChoice) -> None:
        """Ask the billing service and `_show` the answers."""
        raise NotImplementedError

    def _beside(self) -> list[EventCallback[()]]:
        """What else begins when the page opens: slow questions, asked in the background."""
        return []

    @rx.event
    async def load(self) -> EventSpec | list[EventCallback[()]]:
        """The page was opened, or another account was chosen."""
        self._visit += 1
        leave = await self._refresh()
        # Chained rather than listed beside `load`: the events of a page's opening don't wait
        # for each other, and the watch must see this visit's number.
        return leave or [type(self).watch, *([] if self.is_broken else self._beside())]

    @rx.event(background=True)
    async def watch(self) -> AsyncGenerator[EventSpec | list[EventCallback[()]]]:
        """Refresh until the tab closes, goes to another page, or the session ends."""
        async with self:
            visit, token = self._visit, self.router.session.client_token
        while await is_connected(token):
            await pause(is_broken=self.is_broken)
            async with self:
                if self._visit != visit:
                    return
                was_broken = self.is_broken
                leave = await self._refresh(only_news=True)
                beside = self._beside() if was_broken and not self.is_broken else []
            if leave is not None:
                yield leave
                return
            if beside:
                yield beside

    async def _refresh(self, *, only_news: bool = False) -> EventSpec | None:
        try:
            async with patience():
                return await self._read_all(only_news=only_news)
        except Exception as error:
            # Whatever it is, the page keeps what it shows, says so, and tries again.
            told = log.warning if self.is_broken else log.exception
            told("page_read_failed", page=self.__class__.__name__, error=type(error).__name__)
            at = formatting.moment(self._read_at) if self._read_at else ""
            self._show(is_broken=True, read_at=at)
        return None

    async def _read_all(self, *, only_news: bool) -> EventSpec | None:
        actor = await self._actor()
        leave = self._leave(actor)
        if actor is None or leave is not None:
            return leave
        if only_news and not await self._has_news(actor):
            return None
        account = await self._settle(actor)
        if account is not None:
            await self._tell(actor, account, datetime.now(UTC))
            await self._read(actor, account)
        self._read_at = datetime.now(UTC)
        self._show(is_broken=False, is_ready=True, has_account=account is not None)
        return None

    async def _has_news(self, actor: PersonActor) -> bool:
        """Whether reading everything again may show something else."""
        now, account_id = datetime.now(UTC), self.account.account_id
        is_fresh = self._read_at is not None and now - self._read_at < READ_AGAIN
        if self.is_broken or not account_id or not is_fresh:
            return True
        try:
            mark = await read_mark(get_services().database, actor, account_id, now)
        except AccountNotFoundError:
            return True
        is_news = mark != self._mark
        self._show(_mark=mark)
        return is_news


async def pause(*, polls: int = 1, is_broken: bool) -> None:
    """Between two readings of an open page."""
    settings = get_services().settings
    await asyncio.sleep(
        settings.page_retry_seconds if is_broken else polls * settings.page_poll_seconds
    )


async def is_connected(token: str) -> bool:
    """Whether the tab is still there, on whichever worker its socket is."""
    namespace = get_app().app.event_namespace
    return await namespace._token_manager.is_token_connected(token)  # noqa: SLF001
