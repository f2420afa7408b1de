"""The staff console: one file per page. What may be seen and done is decided by the services."""
