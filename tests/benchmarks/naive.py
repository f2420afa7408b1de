"""The baseline: the route one writes first, doing the same work one transaction per request.

FastAPI, pydantic, SQLModel; `SELECT … FOR UPDATE` on the plan, then the idempotency key, then
the writes. It gets what is no part of the comparison as a gift: the same server and tables, and
service keys that are looked up once and never again.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import Engine, create_engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import Session, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from billing_app.billing import ids
from billing_app.billing.actors import ServiceActor
from billing_app.billing.identity.api_keys import KeyRing
from billing_app.db.engine import Database
from billing_app.db.tables import Account, DailyUsage, ExecutionEvent, IdempotencyKey, Plan
from billing_app.routes import CHECK_EXECUTIONS
from billing_app.settings import load_settings

POOL_SIZE: Final = 20
POOL_TIMEOUT_SECONDS: Final = 60

Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=255)]


class Body(BaseModel):
    organization_id: str = Field(min_length=1, max_length=255)
    executions: int = Field(1, ge=1, le=1_000_000)
    mode: Literal["consume"]
    workflow: str = Field("", max_length=255)


class PlanOut(BaseModel):
    id: str
    type: str
    name: str


class Answer(BaseModel):
    allowed: bool
    mode: str
    executions: int
    event_id: str
    reservation: None
    plan: PlanOut
    account_id: str
    executions_total: int
    executions_used: int
    executions_held: int
    executions_remaining: int
    period_end: datetime | None


def create_app(*, is_async: bool) -> FastAPI:
    """The baseline with an async session, or with a sync one in FastAPI's threads."""
    url = load_settings().database_url
    assert url is not None
    driver_url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    pool: dict[str, Any] = {
        "pool_size": POOL_SIZE,
        "max_overflow": 0,
        "pool_timeout": POOL_TIMEOUT_SECONDS,
    }
    keys = KeyRing(Database(url))
    known: dict[str, ServiceActor] = {}
    app = FastAPI(lifespan=_lifespan)

    async def authenticate(authorization: Annotated[str, Header()]) -> ServiceActor:
        if authorization not in known:
            secret = authorization.removeprefix("Bearer ")
            known[authorization] = await keys.authenticate(secret, datetime.now(UTC))
        return known[authorization]

    actor_now = Depends(authenticate)

    if is_async:
        async_engine = create_async_engine(driver_url, **pool)

        @app.post(CHECK_EXECUTIONS)
        async def consume_async(
            body: Body, idempotency_key: Key, actor: ServiceActor = actor_now
        ) -> Answer:
            async with AsyncSession(async_engine, expire_on_commit=False) as session:
                answer = await session.run_sync(
                    lambda s: _consume(s, body, idempotency_key, actor.key_id)  # pyright: ignore[reportArgumentType]
                )
                await session.commit()
                return answer

    else:
        engine: Engine = create_engine(driver_url, **pool)

        @app.post(CHECK_EXECUTIONS)
        def consume(body: Body, idempotency_key: Key, actor: ServiceActor = actor_now) -> Answer:
            with Session(engine, expire_on_commit=False) as session:
                answer = _consume(session, body, idempotency_key, actor.key_id)
                session.commit()
                return answer

    return app


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield


def _consume(session: Session, body: Body, key: str, api_key_id: int) -> Answer:
    account = session.exec(
        select(Account)
        .where(Account.organization_id == body.organization_id)
        .where(Account.kind == "organization")
    ).first()
    if account is None:
        raise HTTPException(404)
    plan = session.exec(
        select(Plan)
        .where(Plan.account_id == account.id)
        .where(col(Plan.ended_at).is_(None))
        .order_by(col(Plan.sequence))
        .with_for_update()
    ).first()
    request_hash = sha256(body.model_dump_json().encode()).digest()[:16]
    known = session.get(IdempotencyKey, (account.id, "k:" + key))
    if known is not None:
        if known.request_hash != request_hash:
            raise HTTPException(422)
        return Answer.model_validate_json(known.answer)
    if plan is None or plan.executions - plan.used - plan.held < body.executions:
        raise HTTPException(402)
    now = datetime.now(UTC)
    number = time.time_ns() // 1000
    plan.used += body.executions
    plan.began_at = plan.began_at or now
    answer = _answer(account, plan, body, number)
    session.add(plan)
    session.add(_event(plan, body, number=number, key=key, api_key_id=api_key_id, now=now))
    session.add(
        IdempotencyKey(
            account_id=account.id,
            key="k:" + key,
            request_hash=request_hash,
            answer=answer.model_dump_json().encode(),
            created_at=now,
        )
    )
    session.flush()
    _count(session, account.id, body, now)
    return answer


def _event(
    plan: Plan, body: Body, *, number: int, key: str, api_key_id: int, now: datetime
) -> ExecutionEvent:
    return ExecutionEvent(
        account_id=plan.account_id,
        number=number,
        plan_sequence=plan.sequence,
        kind="consume",
        executions=body.executions,
        plan_used_after=plan.used,
        remaining_after=plan.executions - plan.used - plan.held,
        workflow=body.workflow,
        idempotency_key=key,
        api_key_id=api_key_id,
        occurred_at=now,
    )


def _count(session: Session, account_id: int, body: Body, now: datetime) -> None:
    row = insert(DailyUsage).values(
        account_id=account_id,
        day=now.date(),
        workflow=body.workflow,
        user_id="",
        used=body.executions,
        refunded=0,
    )
    session.exec(  # pyright: ignore[reportCallIssue]
        row.on_conflict_do_update(  # pyright: ignore[reportArgumentType]
            index_elements=["account_id", "day", "workflow", "user_id"],
            set_={"used": col(DailyUsage.used) + row.excluded.used},
        )
    )


def _answer(account: Account, plan: Plan, body: Body, number: int) -> Answer:
    return Answer(
        allowed=True,
        mode="consume",
        executions=body.executions,
        event_id=ids.encode(ids.EVENT, account.id, number),
        reservation=None,
        plan=PlanOut(
            id=ids.encode(ids.PLAN, account.id, plan.sequence), type=plan.type, name=plan.name
        ),
        account_id=ids.encode_account(account.id),
        executions_total=plan.executions,
        executions_used=plan.used,
        executions_held=plan.held,
        executions_remaining=plan.executions - plan.used - plan.held,
        period_end=plan.ends_at,
    )
