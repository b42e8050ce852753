"""Tests of stack/config."""
