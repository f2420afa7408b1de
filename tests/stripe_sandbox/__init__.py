"""The Stripe stand-in, proved over real HTTP with the real SDK."""
