"""States of the staff console: each acts as the staff member who is signed in at that moment."""
