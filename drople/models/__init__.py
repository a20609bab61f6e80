"""The frozen CLIP, its prompts, and the one forward."""
