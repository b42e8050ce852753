"""The dashboards' source; `python grafana/generate.py` writes grafana/dashboards/*.json from it."""
