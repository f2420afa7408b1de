import tests.billing.profiles  # noqa: F401
