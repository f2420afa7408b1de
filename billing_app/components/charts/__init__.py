"""Charts: pure functions from a pandas frame to a Plotly figure, and components to show them."""
