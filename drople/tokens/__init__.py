"""How much each token matters, how likely it is dropped, and what a drop does."""
