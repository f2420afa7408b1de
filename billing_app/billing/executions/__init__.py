"""Counting executions: the hot path.

A check request goes through thirteen files: api/hot_routes and api/bodies read it; service
authorizes it; group_commit queues it and retries; store runs its transaction with directory
(accounts), driver (connection) and statements (SQL); decide applies the rules to state, with
idempotency for retries; changes_store writes; requests has its types. Other requests add
reservations or corrections. On a Citus cluster, cluster routes by shards and node_lanes decides.
"""
