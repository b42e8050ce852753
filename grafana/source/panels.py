"""Panels in our style: each with a unit, a description, thresholds, a legend and a word for "no data"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    annotationslist,
    barchart,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import text as text_models

DATASOURCE = common_models.DataSourceRef(type_val="prometheus", uid="prometheus")

GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "text"

Panel = (
    stat.Panel
    | timeseries.Panel
    | barchart.Panel
    | table.Panel
    | heatmap.Panel
    | statetimeline.Panel
    | text.Panel
    | annotationslist.Panel
)


@dataclass(frozen=True)
class Query:
    """PromQL and what its series are called (`{{label}}` stands for a label's value)."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Look:
    """What a panel says about its values.

    Attributes:
        title: The panel's title.
        good: What good looks like.
        otherwise: What to do when it does not.
        unit: Grafana's unit id.
        steps: (colour, from which value on), the first of them without a value.
        no_value: What it shows without data; one of the texts of `WAITS_FOR` in tests/fixtures/panels.py
            where that is normal.
        words: Words for values: value -> (text, colour).
        decimals: Digits after the point; None leaves it to Grafana.
    """

    title: str
    good: str
    otherwise: str
    unit: str
    no_value: str
    steps: Sequence[tuple[str, float | None]] = ((GREEN, None),)
    words: Mapping[int, tuple[str, str]] | None = None
    decimals: int | None = None

    @property
    def description(self) -> str:
        """What a person reads when asking what the panel means."""
        return describe(self.good, self.otherwise)


def describe(good: str, otherwise: str) -> str:
    """Give a panel's description."""
    return f"Good: {good}\n\nOtherwise: {otherwise}"


def build_stat(look: Look, *queries: Query, show_names: bool = False, fill: bool = False) -> stat.Panel:
    """Give a big number for the state now, if asked filled with its colour or with every series' name."""
    colour = common_models.BigValueColorMode.BACKGROUND if fill else common_models.BigValueColorMode.VALUE
    names = common_models.BigValueTextMode.VALUE_AND_NAME if show_names else common_models.BigValueTextMode.VALUE
    panel = (
        stat.Panel()
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .color_mode(colour)
        .text_mode(names)
        .justify_mode(common_models.BigValueJustifyMode.CENTER)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )
    return dress(panel, look, [build_query(query).instant() for query in queries])


def build_chart(
    look: Look,
    *queries: Query,
    stacked: bool = False,
    lowest: float | None = 0,
    highest: float | None = None,
) -> timeseries.Panel:
    """Give a line chart over the dashboard's time range; an end of its axis that is None follows the values."""
    panel = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(common_models.VisibilityMode.AUTO)
        .span_nulls(False)
        .legend(_legend().calcs(["lastNotNull"]))
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(_line_style(look)))
    )
    if lowest is not None:
        panel.min(lowest)
    if highest is not None:
        panel.max(highest)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    return dress(panel, look, [build_query(query).range() for query in queries])


def build_bars(look: Look, query: Query, transformations: Sequence[models.DataTransformerConfig]) -> barchart.Panel:
    """Give stacked horizontal bars, one for each row of a table made by the transformations."""
    panel = (
        barchart.Panel()
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .stacking(common_models.StackingMode.NORMAL)
        .show_value(common_models.VisibilityMode.AUTO)
        .bar_width(0.8)
        .fill_opacity(80)
        .min(0)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
        .transformations(list(transformations))
    )
    return dress(panel, look, [as_table(query)])


def build_heatmap(look: Look, query: Query) -> heatmap.Panel:
    """Give a histogram over time; the query gives buckets by `le`, and the unit is that of their bounds."""
    scheme = heatmap.HeatmapColorOptions().mode(heatmap_models.HeatmapColorMode.SCHEME).scheme("Blues").steps(64)
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(scheme)
        .y_axis(heatmap.YAxisConfig().unit(look.unit))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
        .tooltip(heatmap.HeatmapTooltip().mode(common_models.TooltipDisplayMode.SINGLE).y_histogram(True))
    )
    return dress(panel, look, [build_query(query).range().format(prometheus_models.PromQueryFormat.HEATMAP)])


def build_states(look: Look, query: Query) -> statetimeline.Panel:
    """Give one line for each series that shows, as words, what it was and when."""
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(common_models.VisibilityMode.AUTO)
        .row_height(0.8)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.SINGLE))
    )
    return dress(panel, look, [build_query(query).range()])


def build_text(title: str, markdown: str) -> text.Panel:
    """Give words: the question that a dashboard answers, and how to read it."""
    return text.Panel().title(title).mode(text_models.TextMode.MARKDOWN).content(markdown).transparent(True)


def build_happenings(title: str, good: str, otherwise: str, *, tag: str, limit: int) -> annotationslist.Panel:
    """Give the newest annotations with a tag, whenever they were: what they say, their tags and their time."""
    return (
        annotationslist.Panel()
        .title(title)
        .description(describe(good, otherwise))
        .tags([tag])
        .limit(limit)
        .only_from_this_dashboard(False)
        .only_in_time_range(False)
        .show_user(False)
        .show_time(True)
        .show_tags(True)
    )


def build_query(query: Query) -> prometheus.Dataquery:
    """Give a query to our data source."""
    return prometheus.Dataquery().datasource(DATASOURCE).expr(query.expr).legend_format(query.legend)


def as_table(query: Query) -> prometheus.Dataquery:
    """Give a query whose answer is a table of the values now."""
    return build_query(query).instant().format(prometheus_models.PromQueryFormat.TABLE)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )


def _line_style(look: Look) -> common_models.GraphThresholdsStyleMode:
    styles = common_models.GraphThresholdsStyleMode
    return styles.DASHED if len(look.steps) > 1 else styles.OFF


def dress(panel: Panel, look: Look, queries: Sequence[prometheus.Dataquery]) -> Panel:
    """Give the panel what every panel has, by its look, and its queries."""
    steps = [models.Threshold(value=value, color=colour) for colour, value in look.steps]
    panel.title(look.title).description(look.description).unit(look.unit).no_value(look.no_value)
    panel.datasource(DATASOURCE)
    panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    colours = models.FieldColorModeId.THRESHOLDS
    if isinstance(panel, timeseries.Panel | barchart.Panel):
        colours = models.FieldColorModeId.PALETTE_CLASSIC
    panel.color_scheme(dashboard.FieldColor().mode(colours))
    if look.decimals is not None:
        panel.decimals(look.decimals)
    if look.words:
        panel.mappings([_value_map(look.words)])
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(query.ref_id(letter))
    return panel


def _value_map(words: Mapping[int, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        {
            str(value): models.ValueMappingResult(text=text, color=colour, index=index)
            for index, (value, (text, colour)) in enumerate(words.items())
        }
    )
