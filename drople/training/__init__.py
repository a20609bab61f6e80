"""Learning prompts on few images: configuration, data, losses, loop."""
