"""Thin states: each calls the billing service as the viewer, and holds what its page draws."""
