"""The computations of the page's lab, one a module."""
