"""What happens to accounts, for whoever wants to be told: the outbox of webhooks."""
