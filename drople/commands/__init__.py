"""What `python -m drople` can do, one file a command: its options, and what it prints."""
