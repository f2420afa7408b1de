"""Charts: pure functions from a pandas frame to a Plotly figure, and the parts that show them."""
