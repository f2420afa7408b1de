"""Outgoing webhooks by Standard Webhooks (standardwebhooks.com): endpoints, deliveries, retries."""
