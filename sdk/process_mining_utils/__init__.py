"""Event-log measures for notebooks: durations, variants, flow, bottlenecks, rework, features, charts and reports.

Every function takes a DataFrame first and the column names as keywords; the defaults are those of XES (IEEE 1849).
matplotlib is imported only by the functions that draw.
"""

from process_mining_utils.cases import case_durations, case_variants, variants
from process_mining_utils.charts import draw_bottlenecks, draw_case_durations
from process_mining_utils.columns import ACTIVITY, CASE, RESOURCE, TIME, LogColumns, detect_columns
from process_mining_utils.enrichment import add_columns, event_log, event_measures
from process_mining_utils.features import (
    EarlyCases,
    TemporalSplit,
    case_features,
    early_cases,
    one_hot,
    temporal_split,
)
from process_mining_utils.flow import activity_throughput, bottlenecks, directly_follows, rework
from process_mining_utils.flow_drawing import draw_directly_follows
from process_mining_utils.opening import OpenedLog, open_log
from process_mining_utils.report import Report
from process_mining_utils.selection import (
    Selection,
    Window,
    cases_active_in,
    last_window,
    period_window,
    select_cases,
)
from process_mining_utils.style import figure_png
from process_mining_utils.times import elapsed_hours, human_hours, is_weekend, to_times

__all__ = [
    "ACTIVITY",
    "CASE",
    "RESOURCE",
    "TIME",
    "EarlyCases",
    "LogColumns",
    "OpenedLog",
    "Report",
    "Selection",
    "TemporalSplit",
    "Window",
    "activity_throughput",
    "add_columns",
    "bottlenecks",
    "case_durations",
    "case_features",
    "case_variants",
    "cases_active_in",
    "detect_columns",
    "directly_follows",
    "draw_bottlenecks",
    "draw_case_durations",
    "draw_directly_follows",
    "early_cases",
    "elapsed_hours",
    "event_log",
    "event_measures",
    "figure_png",
    "human_hours",
    "is_weekend",
    "last_window",
    "one_hot",
    "open_log",
    "period_window",
    "rework",
    "select_cases",
    "temporal_split",
    "to_times",
    "variants",
]
