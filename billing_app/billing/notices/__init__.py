"""Mail about what happened to accounts, beside the alerts: each person chooses what they get."""
