"""One file per page: a function that composes named parts and binds them to a state."""
