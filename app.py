"""Starts DroPLe Lens: python app.py [--device auto|cpu|cuda]."""

import os
import tempfile

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Not the one that all apps of Gradio share: old files in it are deleted.
os.environ.setdefault("GRADIO_TEMP_DIR", os.path.join(tempfile.gettempdir(), "drople-lens"))

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401  # before anything looks for CUDA

from app.demo import main  # Gradio reads the lines above when it is imported

if __name__ == "__main__":
    main()
