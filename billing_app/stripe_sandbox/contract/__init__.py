"""Stripe's own types, read from the installed SDK: the contract of requests and answers."""
