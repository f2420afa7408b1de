"""`python -m billing_app`."""

from billing_app.cli.main import main

main()
