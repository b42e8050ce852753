"""Grafana is healthy, its data source works, and all dashboards are there."""

from __future__ import annotations

from stack.checks.smoke.check import Check, Outcome, SmokeContext


def run(context: SmokeContext) -> Outcome:
    """Ask Grafana for its health, its data source's own test, and its dashboards."""
    grafana = context.target.grafana
    if grafana is None:
        return Outcome("skip", context.target.grafana_skip)
    wrong = []
    database = grafana.health()
    if database.lower() != "ok":
        wrong.append(f"its database is `{database}`")
    status, said = grafana.datasource_health()
    if status.upper() != "OK":
        wrong.append(f"its data source does not work ({said or status})")
    found = set(grafana.dashboards())
    missing = [uid for uid in context.target.dashboard_uids if uid not in found]
    if missing:
        wrong.append(f"dashboards are missing: {', '.join(missing)}")
    data = {"dashboards": sorted(found)}
    if wrong:
        return Outcome("fail", "; ".join(wrong), "`stack logs grafana` tells more", data)
    count = len(context.target.dashboard_uids)
    return Outcome("pass", f"healthy, its data source works, {count} of {count} dashboards are there", data=data)


CHECK = Check("grafana", run, order=180, lane="side", model="any")
