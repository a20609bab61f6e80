"""Everything that knows Gradio, and the pictures."""
