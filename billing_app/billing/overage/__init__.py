"""Executions beyond the plan: how many are allowed, what they cost, how the provider bills them."""
