"""Thin states: each asks the billing service as whoever is signed in, and holds what is drawn."""
