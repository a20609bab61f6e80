"""DroPLe."""
