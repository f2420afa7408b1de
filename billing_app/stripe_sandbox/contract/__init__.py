"""Stripe's own types, read from the installed SDK: what a request may hold and what an answer must."""
