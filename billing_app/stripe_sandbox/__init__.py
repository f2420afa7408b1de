"""A stateful stand-in for Stripe (API 2026-10-28.endive), run as its own process over real HTTP.

It imports nothing else of billing_app and nothing else imports it: clients reach it with the
official SDK by changing the base address only. It holds no money and binds loopback only.
"""
