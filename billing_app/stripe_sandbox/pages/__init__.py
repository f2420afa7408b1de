"""The pages for people: checkout, 3-D Secure, portal and invoices, in HTML without scripts."""
