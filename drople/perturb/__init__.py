"""Pictures made worse: corruptions, and an attack."""
