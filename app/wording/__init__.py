"""What stands beside the pictures: rows of tables, and sentences made from the numbers."""
