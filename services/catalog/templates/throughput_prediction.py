# Predicts how long running cases will take and how much work is coming. Percent format: "# %%" begins a cell.

# %% [markdown]
# # Throughput prediction
#
# Two questions that every planner has. *When will this case be done?* A model learns from finished cases what remains
# after the first events, and is tested on later cases that it has never seen. *How much is coming?* Cases that begin
# and end each week are counted, with the work in progress, and carried on for some weeks; the forecast is tested on the
# last weeks of the log first. Where a model is no better than a rule of thumb, the report says so.

# %% tags=["parameters"]
dataset_id: str = ""  # the dataset of this run; empty: the one that is bound to the notebook
known_events: int = 2  # how many events of a case are known when its end is predicted, 1 to 20
forecast_weeks: int = 8  # how far the number of cases is carried on
test_share: float = 0.3  # the part of the cases, the latest ones, that the model is tested on, 0.1 to 0.5
include_weekends: bool = True  # False: Saturdays and Sundays do not count in durations

# %% [markdown]
# ## The event log

# %%
import numpy as np
import pandas as pd
from IPython.display import JSON, Image, display
from mindzie_sdk import ProcessMiningClient

import process_mining_utils as pm

client = ProcessMiningClient()
client.progress(0.05, "Loading the event log")
opened = pm.open_log(client, dataset_id)
log, events, notes = opened.log, opened.events, opened.notes  # notes: what the reader of the report should know
if not include_weekends:
    notes.append("Saturdays and Sundays (UTC) are not counted in durations.")
known = min(20, max(1, known_events))
if known != known_events:
    notes.append(f"known_events {known_events} was taken as {known}.")
held_back = min(0.5, max(0.1, test_share))
if held_back != test_share:
    notes.append(f"test_share {test_share} was taken as {held_back}.")

cases = pm.case_durations(events, include_weekends=include_weekends).dropna(subset=["start"])
overview = pd.DataFrame(
    {
        "dataset": [opened.name],
        "cases": [events[pm.CASE].nunique()],
        "from": [events[pm.TIME].min()],
        "to": [events[pm.TIME].max()],
        "median duration": [pm.human_hours(cases["duration_hours"].median())],
    }
)
display(overview, metadata={"title": "Dataset overview"})

# %% [markdown]
# ## When will a case be done?
#
# The features are what is known at the moment of the n-th event: which activities, who did them, how long the steps
# took, weekday and hour, and how busy the process is. The model learns from cases that ended before the test begins.
# It aims at the median on a logarithmic scale: an error of an hour matters for a case of a day, not for one of a year.

# %%
client.progress(0.2, "Describing cases")
MIN_CASES, MOST_CASES = 30, 20_000
early = pm.early_cases(events, events=known)
split = pm.temporal_split(early, test_share=held_back)
hours_left = early.remaining_hours
if not include_weekends:  # the same remaining time, on a clock that stands still at weekends
    working = [pm.elapsed_hours(times, include_weekends=False) for times in (early.end, early.moment)]
    hours_left = pd.Series(working[0] - working[1], index=hours_left.index)
known_outcome = hours_left.notna()
train, test = (part[known_outcome[part].to_numpy()] for part in (split.train, split.test))
trainable = len(train) >= MIN_CASES and len(test) >= MIN_CASES // 2 and hours_left[train].nunique() > 1

scores, predicted = None, pd.Series(dtype=float)
if not trainable:
    notes.append(
        f"No prediction: it needs {MIN_CASES} finished cases with {known} events to learn from and {MIN_CASES // 2}"
        f" later ones to test on; the log gives {len(train)} and {len(test)}."
    )
    print(notes[-1])
else:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.metrics import mean_absolute_error, r2_score

    client.progress(0.35, "Training the model")
    train = train[-MOST_CASES:]  # the latest ones: processes change, and more take long to learn from
    learned = pm.one_hot(early.features.loc[train])
    tested = pm.one_hot(early.features.loc[test], like=learned)
    model = GradientBoostingRegressor(
        loss="absolute_error", n_estimators=150, subsample=0.7, min_samples_leaf=8, max_features=0.5, random_state=7
    )
    model.fit(learned, np.log1p(hours_left[train]))
    predicted = pd.Series(np.expm1(model.predict(tested)), index=test)
    truth, rule = hours_left[test], float(hours_left[train].median())
    scores = {
        "mean_absolute_error_hours": mean_absolute_error(truth, predicted),
        "median_absolute_error_hours": (truth - predicted).abs().median(),
        "rule_mean_absolute_error_hours": mean_absolute_error(truth, np.full(len(truth), rule)),
        "rule_median_absolute_error_hours": (truth - rule).abs().median(),
        "r2_log": r2_score(np.log1p(truth), np.log1p(predicted)) if truth.nunique() > 1 else None,
        "train_cases": len(train),
        "test_cases": len(test),
        "split_at": split.moment,
    }
    client.save_model(model, name="remaining_time", metrics=scores, features=list(learned.columns))
    display(pd.Series(scores, name="score").to_frame(), metadata={"title": "Prediction scores"})
    if scores["median_absolute_error_hours"] >= scores["rule_median_absolute_error_hours"]:
        notes.append("The model is no better than always answering the median of the past: do not plan with it.")
        print(notes[-1])

# %% [markdown]
# ### Predicted against real
#
# Each dot is a case of the test. On the line, prediction and outcome agree; below it the case took longer than
# predicted.

# %%
TICKS = {1 / 60: "1 minute", 1: "1 hour", 8: "8 hours", 24: "1 day", 168: "1 week", 730: "1 month", 4383: "6 months",
         17532: "2 years"}  # fmt: skip
if scores:
    least = 1 / 60
    x, y = truth.clip(lower=least), predicted.clip(lower=least)
    low, high = min(x.min(), y.min()) / 1.5, max(x.max(), y.max()) * 1.5
    figure = pm.style.new_figure(9.0, 5.0)
    usual = pm.human_hours(scores["median_absolute_error_hours"])
    rule_off = pm.human_hours(scores["rule_median_absolute_error_hours"])
    note = (
        f"{len(test):,} later cases; half of the predictions are off by less than {usual} (rule of thumb: {rule_off})"
    )
    axes = pm.style.plain_axes(figure, "Predicted and real remaining time", note)
    axes.plot([low, high], [low, high], color=pm.style.MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.scatter(x, y, s=13, alpha=0.45, linewidths=0, color=pm.style.BLUE)
    ticks = {at: text for at, text in TICKS.items() if low <= at <= high} or {
        float(x.median()): pm.human_hours(x.median())
    }
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(list(ticks), list(ticks.values()))
        axis.set_ticks([], minor=True)
    axes.grid(True, color=pm.style.GRID)
    axes.set_axisbelow(True)
    axes.set_xlabel("real", color=pm.style.MUTED, fontsize=9)
    axes.set_ylabel("predicted", color=pm.style.MUTED, fontsize=9)
    figure.subplots_adjust(left=0.11, right=0.97, top=0.85, bottom=0.11)
    accuracy_chart = pm.figure_png(figure)
    display(Image(accuracy_chart), metadata={"title": "Predicted and real remaining time"})

    weights = pd.DataFrame({"what is known": learned.columns, "weight": model.feature_importances_})
    weights = weights.sort_values("weight", ascending=False).head(10).reset_index(drop=True)
    display(weights.round(3), metadata={"title": "What the prediction rests on"})

# %% [markdown]
# ## How much is coming?
#
# Cases that begin and end a week, and those that are open at its end. The first and last week are often cut off by the
# log and are not counted. A case is taken as ended at its last event; near the end of the log some of them are still
# open, so the last ends are counted too high and the open cases too low.

# %%
client.progress(0.6, "Counting weeks")
WEEK = pd.Timedelta(weeks=1)
weekly = pd.DataFrame(columns=["week", "begun", "ended", "open"])
if len(cases):
    first = cases["start"].min().floor("D")
    first -= pd.Timedelta(days=first.day_of_week)
    weeks = pd.date_range(first, cases["end"].max(), freq=WEEK)
    begun = np.histogram(((cases["start"] - first) / WEEK), bins=np.arange(len(weeks) + 1))[0]
    ended = np.histogram(((cases["end"] - first) / WEEK), bins=np.arange(len(weeks) + 1))[0]
    weekly = pd.DataFrame({"week": weeks, "begun": begun, "ended": ended, "open": np.cumsum(begun - ended)})
    weekly = weekly.iloc[1:-1].reset_index(drop=True) if len(weekly) > 4 else weekly.iloc[:0]

# %% [markdown]
# ## The forecast
#
# Three simple rules compete: the mean of the last eight weeks, the last week, and the same week a year before. Each
# predicts the last weeks of the log from what came before; the best one makes the forecast, and its errors there give
# the range.

# %%
RULES = {
    "mean of the last 8 weeks": lambda past, steps: np.full(steps, past[-8:].mean()),
    "as in the last week": lambda past, steps: np.full(steps, past[-1]),
    "as a year before": lambda past, steps: past[-52:][np.arange(steps) % 52] if len(past) >= 60 else None,
}
MIN_WEEKS = 12
forecast, backtest = None, pd.DataFrame()
horizon = max(1, min(52, forecast_weeks))
if horizon != forecast_weeks:
    notes.append(f"forecast_weeks {forecast_weeks} was taken as {horizon}.")
    print(notes[-1])
if len(weekly) < MIN_WEEKS:
    notes.append(f"No forecast: it needs {MIN_WEEKS} whole weeks, the log has {len(weekly)}.")
    print(notes[-1])
else:
    values = weekly["begun"].to_numpy(dtype=float)
    origins = range(len(values) // 2, len(values) - 1, max(1, len(values) // 24))
    errors = {name: [] for name in RULES}
    for origin in origins:
        ahead = values[origin : origin + horizon]
        for name, rule_of in RULES.items():
            guess = rule_of(values[:origin], len(ahead))
            if guess is not None:
                errors[name].append(np.abs(ahead - guess).mean())
    tries = max(map(len, errors.values()))  # a rule that could not always be tried does not compete
    backtest = pd.DataFrame(
        [{"rule": name, "mean_error": np.mean(found)} for name, found in errors.items() if len(found) == tries]
    )
    backtest = backtest.sort_values("mean_error").reset_index(drop=True)
    chosen_rule = backtest.loc[0, "rule"]
    center = RULES[chosen_rule](values, horizon)
    margin = float(np.quantile(errors[chosen_rule], 0.8))
    forecast = pd.DataFrame(
        {
            "week": weekly["week"].iloc[-1] + WEEK * np.arange(1, horizon + 1),
            "begun": center,
            "low": np.clip(center - margin, 0, None),
            "high": center + margin,
        }
    )
    display(backtest.round(2), metadata={"title": "Rules in the test"})
    display(forecast.set_index("week").round(1), metadata={"title": "Forecast"})

# %%
if len(weekly):
    figure = pm.style.new_figure(9.0, 4.2)
    note = "cases that begin and end each week" + ("" if forecast is None else f"; dashed: {chosen_rule}")
    axes = pm.style.plain_axes(figure, "Throughput", note)
    days = weekly["week"].dt.tz_localize(None)
    axes.plot(days, weekly["begun"], color=pm.style.BLUE, linewidth=1.6, label="begun")
    axes.plot(days, weekly["ended"], color="#3a9d6e", linewidth=1.6, label="ended")
    axes.fill_between(
        days,
        weekly["open"] / max(1, weekly["open"].max()) * weekly[["begun", "ended"]].to_numpy().max() * 0.9,
        color="#e4e7ec",
        label=f"open (up to {weekly['open'].max():,})",
        zorder=0,
    )
    if forecast is not None:
        coming = forecast["week"].dt.tz_localize(None)
        axes.fill_between(coming, forecast["low"], forecast["high"], color=pm.style.BLUE, alpha=0.15, linewidth=0)
        axes.plot(
            coming, forecast["begun"], color=pm.style.BLUE, linewidth=1.6, linestyle=(0, (4, 3)), label="forecast"
        )
    axes.set_ylim(bottom=0)
    axes.yaxis.grid(True, color=pm.style.GRID)
    axes.set_axisbelow(True)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.17), ncols=4, frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.06, right=0.98, top=0.8, bottom=0.1)
    weekly_chart = pm.figure_png(figure)
    display(Image(weekly_chart), metadata={"title": "Throughput by week"})

# %% [markdown]
# ## The enriched log
#
# All rows and columns of the dataset, in their order, and new columns after them. Predictions are given for the
# cases of the test alone: for the others the model has seen the outcome, and its answer would be worth nothing.

# %%
client.progress(0.85, "Enriching the log")
new = pd.DataFrame(index=events.index)
of_event = cases.set_index("case").reindex(events[pm.CASE])
new["case_duration_hours"] = of_event["duration_hours"].to_numpy(dtype=float).round(4)
new["case_begun_week"] = pd.Series(pd.to_datetime(of_event["start"].to_numpy(), utc=True)).dt.strftime("%G-W%V")
if scores:
    new["predicted_remaining_hours"] = events[pm.CASE].map(predicted).astype(float).round(3)
    new["actual_remaining_hours"] = events[pm.CASE].map(truth).astype(float).round(3)
enriched = pm.add_columns(log, new)
if opened.bound:
    client.save_enriched_dataset(enriched, name="predicted_event_log")
display(enriched.head(10), metadata={"title": "Enriched event log"})

# %%
total = events[pm.CASE].nunique()
result = {
    "cases": total,
    "medianDuration": pm.human_hours(cases["duration_hours"].median()),
    "medianErrorHours": None if scores is None else round(float(scores["median_absolute_error_hours"]), 3),
    "ruleMedianErrorHours": None if scores is None else round(float(scores["rule_median_absolute_error_hours"]), 3),
    "casesPerWeek": None if weekly.empty else round(float(weekly["begun"].tail(8).mean()), 1),
    "forecastPerWeek": None if forecast is None else round(float(forecast["begun"].mean()), 1),
}
display(JSON(result), metadata={"title": "Throughput metrics"})
client.save_value("throughput_metrics", result)

# %% [markdown]
# ## Report

# %%
report = pm.Report("Throughput prediction", f"{opened.name} · {total:,} cases · {len(events):,} events")
report.tiles(
    {
        "cases": f"{total:,}",
        "median duration": result["medianDuration"],
        "usual error": "–" if scores is None else usual,
        "cases a week": "–" if weekly.empty else f"{result['casesPerWeek']:,}",
        "expected a week": "–" if forecast is None else f"{result['forecastPerWeek']:,}",
    }
)
report.notes("About this run", notes)
if scores:
    gain = 1 - scores["median_absolute_error_hours"] / max(scores["rule_median_absolute_error_hours"], 1e-9)
    better = f"That is {gain:.0%} better than" if gain > 0.02 else "That is not better than"
    report.section(
        "When will a case be done?", f"Predicted after {known} event(s), tested on {len(test):,} later cases."
    )
    report.text(
        f"Half of the predictions are off by less than {usual}. {better} always answering the median of the past,"
        f" which is off by {rule_off}."
    )
    report.figure(accuracy_chart, "Predicted against real remaining time")
    report.section("What the prediction rests on")
    report.table(weights, {"weight": "{:.1%}".format})
if len(weekly):
    report.section("How much is coming?")
    report.figure(weekly_chart, "Cases begun and ended by week, with the forecast")
if forecast is not None:
    mistake = backtest.loc[0, "mean_error"]
    report.text(f"Forecast: {chosen_rule}. In the test it was off by {mistake:.1f} cases a week in the mean.")
    numbers = dict.fromkeys(("begun", "low", "high", "mean_error"), "{:.1f}".format)
    report.table(forecast.assign(week=forecast["week"].dt.strftime("%Y-%m-%d")), numbers, rows=12)
    report.table(backtest, numbers)
client.save_report(report.html(), name="Throughput prediction report")
client.progress(1.0, "Done")
print("Report saved.", *(f"- {note}" for note in notes), sep="\n")
