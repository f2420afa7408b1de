"""Days of deliveries within seconds: a queue in memory, and a clock that jumps to what is due."""

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.webhooks_out import attempts, dispatch
from billing_app.billing.webhooks_out.attempts import Answer, Message
from billing_app.db.engine import Database
from billing_app.db.tables import WebhookDelivery
from billing_app.jobs.webhook_sender import WebhookSender

Job = tuple[datetime, str, int, int]


@dataclass
class Simulated:
    database: Database
    now: datetime
    jobs: list[Job] = field(default_factory=list[Job])
    mails: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    sent_at: list[datetime] = field(default_factory=list[datetime])

    def __post_init__(self) -> None:
        self.sender = WebhookSender(allow_private=True)

    async def attempt(
        self, session: AsyncSession, delivery: WebhookDelivery, *, delay_seconds: float
    ) -> None:
        due = self.now + timedelta(seconds=delay_seconds)
        heapq.heappush(self.jobs, (due, delivery.id, delivery.round, delivery.attempts))

    async def endpoint_disabled(self, session: AsyncSession, endpoint_id: str, email: str) -> None:
        self.mails.append((endpoint_id, email))

    async def dispatch(self) -> None:
        while await dispatch.dispatch_events(self.database, self.now):
            pass
        while await dispatch.queue_deliveries(self.database, self, self.now):
            pass

    async def run(self, until: datetime) -> None:
        """What is due until then, in order."""
        await self.dispatch()
        while self.jobs and self.jobs[0][0] <= until:
            self.now, delivery_id, round_, number = heapq.heappop(self.jobs)
            await self._attempt(delivery_id, round_, number)
        self.now = until

    async def _attempt(self, delivery_id: str, round_: int, number: int) -> None:
        message = await attempts.next_message(
            self.database, delivery_id, round_=round_, attempts=number, now=self.now
        )
        if message is not None:
            await self.record(message, await self.sender.send(message, self.now))

    async def record(self, message: Message, answer: Answer) -> None:
        self.sent_at.append(self.now)
        await attempts.record(
            self.database, message, answer, queue=self, mail=self, jitter=0.5, now=self.now
        )
