"""The lab: views that compare dropouts, one file each."""
