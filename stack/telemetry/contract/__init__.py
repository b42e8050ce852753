"""The contract between an engine's metrics and whoever queries them: dashboards, rules and alerts, anybody's."""
