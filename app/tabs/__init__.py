"""One file a tab: `build` lays it out, top-level functions redraw it from a finished analysis."""
