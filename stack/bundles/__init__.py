"""A bundle: everything that a stack needs, in one file or directory; written whole, and read as a stranger's."""
