"""Words that several views share, the formulas, and a paper's words."""
