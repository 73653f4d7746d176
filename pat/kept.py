"""What the files of a run are called."""

CHECKPOINT, STUDENT, CONFIG = "checkpoint.pt", "student.safetensors", "config.json"
PREVIOUS, UNREADABLE = "_previous.pt", "_unreadable"
"""The checkpoint before the last one, and how the names of those begin that could not be read."""
