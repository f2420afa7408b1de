"""States of the staff console: each asks as whoever of the staff is signed in at that moment."""
