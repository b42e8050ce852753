"""Failures: a catalogue of their texts, causes and remedies, and the first cause of those that are not in it."""
