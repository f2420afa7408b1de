"""One file per page: a function that composes components and binds them to a state."""
