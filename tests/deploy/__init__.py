"""The deploy files: linted, and their own commands started."""
