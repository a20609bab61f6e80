"""Starts DroPLe Lens: python app.py [--device auto|cpu|cuda]."""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from app.demo import main  # Gradio reads the lines above when it is imported

if __name__ == "__main__":
    main()
