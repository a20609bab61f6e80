"""Files a visitor takes away: pictures, tables, a page that opens anywhere."""
