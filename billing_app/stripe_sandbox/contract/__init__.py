"""Stripe's own types, read from the installed SDK: what requests may and answers must hold."""
