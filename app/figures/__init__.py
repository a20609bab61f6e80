"""Pictures: an `Analysis` in; an array, a plotly figure or escaped HTML out."""
