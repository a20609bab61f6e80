"""The version written into checkpoints and provenance."""

VERSION = "0.2.0"
