"""Divides a batch by the shards that hold its accounts: no statement spans two."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from billing_app.billing.errors import BillingError, CannotDecideError
from billing_app.billing.executions.directory import Target, Targets
from billing_app.billing.executions.requests import CheckRequest, Decision, Request
from billing_app.billing.executions.shards import Shard, ShardMap

NOT_DECIDED: Final = CannotDecideError("Not decided.")

DecidePart = Callable[[Shard, Sequence[Request], Targets], Awaitable[list[Decision]]]
"""Decides requests about accounts of one shard; the targets are theirs."""


async def by_shard(
    shards: ShardMap, requests: Sequence[Request], targets: Targets, decide_part: DecidePart
) -> list[Decision]:
    """Decide the requests of each shard together, in the order in which all processes lock."""
    decisions: list[Decision] = []
    placed: list[tuple[int, int]] = []
    for position, request in enumerate(requests):
        account = account_of(request, targets)
        decisions.append(account if isinstance(account, BillingError) else NOT_DECIDED)
        if isinstance(account, int):
            placed.append((position, account))
    for shard, places in shards.split([account for _, account in placed]):
        positions = [placed[place][0] for place in places]
        part = [requests[position] for position in positions]
        owned = {target: targets[target] for target in targets_of(part)}
        decided = await decide_part(shard, part, owned)
        for position, decision in zip(positions, decided, strict=True):
            decisions[position] = decision
    return decisions


def account_of(request: Request, targets: Targets) -> int | BillingError:
    """The account whose executions are meant, or why there is none."""
    if isinstance(request, CheckRequest):
        return targets[request.organization_id, request.user_id]
    return request.account_id


def targets_of(requests: Iterable[Request]) -> set[Target]:
    return {
        (request.organization_id, request.user_id)
        for request in requests
        if isinstance(request, CheckRequest)
    }
