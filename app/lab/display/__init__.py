"""What a lab view displays: its picture, table and sentence, from arrays."""
