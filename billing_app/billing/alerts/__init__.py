"""Alerts: what people and services are told about an account before they have to ask."""
