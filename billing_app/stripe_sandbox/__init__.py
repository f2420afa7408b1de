"""A stateful stand-in for Stripe (API 2026-10-28.endive), served over real HTTP.

It runs as its own process and imports nothing else of billing_app; nothing else imports it.
Clients use the official SDK and change only the base address. It listens on loopback only and
handles no real money.
"""
