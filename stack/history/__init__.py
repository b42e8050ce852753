"""History: what was booted, smoke-tested and known to be right, kept between runs."""
