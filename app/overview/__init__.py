"""What assets/overview.js draws: one JSON made of an analysis and its draws."""
