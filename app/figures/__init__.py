"""Pictures: an `Analysis` in; an array, a matplotlib or plotly figure, or coloured HTML out."""
