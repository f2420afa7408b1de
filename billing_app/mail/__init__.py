"""Sends mail: by SMTP, or into a folder where there is no server, as in the demo."""
