"""The pages that a person sees: checkout, 3-D Secure, portal, invoices. Plain HTML, no script."""
