"""`python -m billing_app`."""

from billing_app.cli import main

main()
