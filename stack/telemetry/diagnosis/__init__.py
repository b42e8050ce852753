"""What limits an engine now, from two looks at its /metrics page. Pure: pages and measured values in, limits out."""
