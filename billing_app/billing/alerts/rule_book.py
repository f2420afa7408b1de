"""The rules of all accounts in memory, so that a decision looks nothing up.

A process reads them before its first decision, and reads what changed every few seconds while it
decides. What crosses a threshold in the seconds before a new rule is known here, the sweep of the
workers finds (sweep.py).
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing.alerts.rules import NO_RULES, OveragePrice, RuleSet, parse_rules
from billing_app.db.engine import Database
from billing_app.db.enums import AlertKind

FRESH_SECONDS: Final = 5.0
# A change is seen when it is committed, which may be as long after its time as a statement takes.
OVERLAP: Final = timedelta(seconds=20)
EVERY_OFFER: Final = 0
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

CLOCK: Final = text("SELECT clock_timestamp()")
OWN: Final = text("SELECT account_id, rules::text FROM alert_rules WHERE updated_at >= :since")
DEFAULTS: Final = text("SELECT offer_id, rules::text FROM default_alert_rules")
VERSIONS: Final = text("""
SELECT id, offer_id, overage_unit_price_minor, overage_unit_executions, currency
FROM offer_versions WHERE id > :after
""")

log = structlog.get_logger(__name__)


class RuleBook:
    """One per process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._own: dict[int, RuleSet] = {}
        self._defaults: Mapping[int, RuleSet] = {}
        self._offers: dict[int, int] = {}
        self._prices: dict[int, OveragePrice] = {}
        self._sets: dict[str, RuleSet] = {}
        self._since = BEGINNING
        self._fresh_until: float | None = None
        self._reading: asyncio.Task[None] | None = None

    def own(self, account_id: int) -> RuleSet | None:
        """None: the defaults apply."""
        return self._own.get(account_id)

    def of_offer(self, version_id: int | None) -> RuleSet:
        """The defaults of the offer with that version, or of every offer."""
        if version_id is not None:
            rules = self._defaults.get(self._offers.get(version_id, EVERY_OFFER))
            if rules is not None:
                return rules
        return self._defaults.get(EVERY_OFFER, NO_RULES)

    def rules_of(self, account_id: int, version_id: int | None) -> RuleSet:
        """The account's own, or else the defaults of its plan's offer."""
        own = self.own(account_id)
        return self.of_offer(version_id) if own is None else own

    @property
    def has_offer_rules(self) -> bool:
        return any(offer_id != EVERY_OFFER for offer_id in self._defaults)

    @property
    def has_error_loops(self) -> bool:
        """Whether anybody has a rule about what is given back."""
        return any(rules.of_kind(AlertKind.ERROR_LOOP) for rules in self._sets.values())

    def overage_price(self, version_id: int | None) -> OveragePrice | None:
        return None if version_id is None else self._prices.get(version_id)

    @property
    def is_loaded(self) -> bool:
        return self._fresh_until is not None

    async def load(self) -> None:
        """Read everything, once. Raises what the database raises."""
        if not self.is_loaded:
            await self.read()

    def keep_fresh(self) -> None:
        """Read what changed, if the last time was a while ago. Never waits."""
        is_fresh = self._fresh_until is not None and time.monotonic() < self._fresh_until
        if not is_fresh and self._reading is None:
            self._reading = asyncio.create_task(self._read_again(), name="read alert rules")

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])

    async def read(self) -> None:
        async with self._database.reading() as session:
            connection = await session.connection()
            await self._read_versions(session)
            read_at: datetime = (await connection.execute(CLOCK)).scalar_one()
            defaults = (await connection.execute(DEFAULTS)).all()
            own = (await connection.execute(OWN, {"since": self._since})).all()
        self._defaults = {offer_id: self._set_of(rules) for offer_id, rules in defaults}
        for account_id, rules in own:
            if rules is None:
                self._own.pop(account_id, None)
            else:
                self._own[account_id] = self._set_of(rules)
        self._since = read_at - OVERLAP
        self._fresh_until = time.monotonic() + FRESH_SECONDS

    async def _read_versions(self, session: AsyncSession) -> None:
        after = max(self._offers, default=0)
        rows = await (await session.connection()).execute(VERSIONS, {"after": after})
        for version_id, offer_id, price_minor, unit, currency in rows.all():
            self._offers[version_id] = offer_id
            if price_minor is not None:
                self._prices[version_id] = OveragePrice(price_minor, unit, currency)

    def _set_of(self, rows: str) -> RuleSet:
        """The same object for the same rules: most accounts have those of others."""
        if rows not in self._sets:
            self._sets[rows] = RuleSet(parse_rules(msgspec.json.decode(rows)))
        return self._sets[rows]

    async def _read_again(self) -> None:
        try:
            await self.read()
        except Exception as error:
            # What was read before goes on to apply.
            log.warning("alert_rules_unread", error=type(error).__name__)
            self._fresh_until = time.monotonic() + FRESH_SECONDS
        finally:
            self._reading = None
