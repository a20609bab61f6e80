"""Intervals and correlations of numbers, whatever they count."""
