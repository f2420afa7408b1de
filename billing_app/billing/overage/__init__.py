"""Overage: how many executions beyond the plan are allowed, their cost, and how they are billed."""
