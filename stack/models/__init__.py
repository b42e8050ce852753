"""Models: a reference becomes a verified snapshot on the shared volume, and its memory needs are read."""
