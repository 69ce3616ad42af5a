# The starter template: a first analysis of any event log. Percent format: "# %%" begins a cell.

# %% [markdown]
# # Process mining starter
#
# A first look at how a process really runs, from its event log: how long cases take, which paths they follow, where
# they wait and what is done twice. It adds columns to the log, trains two models and writes a report. It runs on any
# bound dataset that has a case, an activity and a time column, and says so where the log is too small for something.

# %% tags=["parameters"]
dataset_id: str = ""  # the dataset of this run; empty: the one that is bound to the notebook
analysis_period: str = ""  # cases active in 2024, 2024-Q1, 2024-01, 2024-01-15 or 2024-01..2024-03; empty: all
time_window: str = ""  # cases active in the last part of the log: 30_days, 12_weeks, 6_months, 1_year; empty: all
include_weekends: bool = True  # False: Saturdays and Sundays do not count in durations and waiting times
analysis_type: str = "full_analysis"  # one of: full_analysis, performance, variants
ml_models: list = ["anomaly_detection", "process_prediction"]  # models to train: any of the two, or none
generate_visualizations: bool = True  # False: tables only, no charts

# %% [markdown]
# ## The event log
#
# Column names come from the dataset; where it names none they are found by name and content. `events` holds the same
# rows under the standard XES names, so that the rest of the notebook works on every log.

# %%
import pandas as pd
from IPython.display import JSON, Image, display
from mindzie_sdk import ProcessMiningClient

import process_mining_utils as pm

client = ProcessMiningClient()
client.progress(0.05, "Loading the event log")
opened = pm.open_log(client, dataset_id)
log, events = opened.log, opened.events
notes = opened.notes  # everything the reader of the report should know about this run

# %%
overview = pd.DataFrame(
    {
        "dataset": [opened.name],
        "events": [len(events)],
        "cases": [events[pm.CASE].nunique()],
        "activities": [events[pm.ACTIVITY].nunique()],
        "resources": [events[pm.RESOURCE].nunique()],
        "from": [events[pm.TIME].min()],
        "to": [events[pm.TIME].max()],
    }
)
display(overview, metadata={"title": "Dataset overview"})

# %% [markdown]
# ## What is analysed
#
# `analysis_period` and `time_window` choose whole cases: those with at least one event in that time. A filter that
# would leave nothing is not applied, and the report says so. The models further down learn from the whole log.

# %%
selection = pm.select_cases(events, analysis_period=analysis_period, time_window=time_window)
chosen = selection.events
notes += selection.notes
if not include_weekends:
    notes.append("Saturdays and Sundays (UTC) are not counted in durations and waiting times.")

parts = {"full_analysis": {"performance", "variants"}, "performance": {"performance"}, "variants": {"variants"}}
if analysis_type not in parts:
    notes.append(f"analysis_type {analysis_type!r} is unknown ({', '.join(parts)}); full_analysis was done instead.")
show = parts.get(analysis_type, parts["full_analysis"])
clock = {"include_weekends": include_weekends}

print(f"{chosen[pm.CASE].nunique():,} cases with {len(chosen):,} events are analysed.")
for note in notes:
    print("-", note)

# %% [markdown]
# ## How long cases take

# %%
client.progress(0.2, "Measuring cases")
cases = pm.case_durations(chosen, **clock)
if generate_visualizations and "performance" in show:
    duration_chart = pm.figure_png(pm.draw_case_durations(cases))
    display(Image(duration_chart), metadata={"title": "How long cases take"})

# %% [markdown]
# ## Throughput per activity
#
# The hours are counted from the step before: what it took to get to this activity, waiting and work together.

# %%
throughput = pm.activity_throughput(chosen, **clock)
if "performance" in show:
    display(throughput.head(15).round(2), metadata={"title": "Throughput per activity"})

# %% [markdown]
# ## Bottlenecks
#
# Hand-overs ranked by all the time that cases spent in them: a short wait of many cases can cost more than a long one
# of few.

# %%
waits = pm.bottlenecks(chosen, **clock)
if "performance" in show:
    display(waits.head(10).round(2), metadata={"title": "Bottlenecks"})
    if generate_visualizations:
        bottleneck_chart = pm.figure_png(pm.draw_bottlenecks(waits))
        display(Image(bottleneck_chart), metadata={"title": "Where the time goes"})

# %% [markdown]
# ## Paths through the process

# %%
client.progress(0.45, "Drawing the process")
variants = pm.variants(chosen, **clock)
if "variants" in show:
    display(variants.head(10).round(3), metadata={"title": "Most frequent variants"})
    if generate_visualizations:
        flow_chart = pm.figure_png(pm.draw_directly_follows(chosen, **clock))
        display(Image(flow_chart), metadata={"title": "Process flow"})

# %% [markdown]
# ## Rework
#
# An activity that a case goes through more than once.

# %%
repeated = pm.rework(chosen)
reworked_cases = pm.case_features(chosen)["repetitions"].gt(0).sum()
if "variants" in show:
    display(repeated.head(10).round(3), metadata={"title": "Rework"})

# %% [markdown]
# ## The essentials in numbers

# %%
total, median = len(cases), cases["duration_hours"].median()
top_waits = [f"{wait.source} → {wait.target}" for wait in waits.head(3).itertuples()]
metrics = {
    "cases": total,
    "events": len(chosen),
    "activities": int(chosen[pm.ACTIVITY].nunique()),
    "variants": len(variants),
    "avgCycleTime": pm.human_hours(cases["duration_hours"].mean()),
    "medianCycleTime": pm.human_hours(median),
    "medianCycleTimeHours": round(float(median), 3) if pd.notna(median) else None,
    "bottlenecks": top_waits,
    "reworkedCasesPercent": round(100 * int(reworked_cases) / total, 1) if total else None,
    "mostFrequentVariantPercent": round(100 * float(variants["share"].iloc[0]), 1) if total else None,
}
display(JSON(metrics), metadata={"title": "Process mining metrics"})
client.save_value("process_metrics", metrics)

# %% [markdown]
# ## Unusual cases
#
# An isolation forest scores how unusual each case is: its duration, size, waits, repetitions and how rare its path is.
# The score is relative to this log; there is no truth to compare it with, and so no accuracy.

# %%
client.progress(0.6, "Training models")
MIN_CASES = 30  # below that, a model would only repeat single cases
unknown = sorted(set(ml_models or []) - {"anomaly_detection", "process_prediction"})
if unknown:
    notes.append(f"ml_models {', '.join(map(str, unknown))}: unknown, nothing was trained for it.")
    print(notes[-1])

anomalies = None
described = pm.case_features(events, **clock)
if "anomaly_detection" in (ml_models or []):
    if len(described) < MIN_CASES:
        notes.append(f"No anomaly model: it needs {MIN_CASES} cases, the log has {len(described)}.")
        print(notes[-1])
    else:
        from sklearn.ensemble import IsolationForest

        detector = IsolationForest(n_estimators=100, contamination=0.05, random_state=7).fit(described)
        anomalies = described.assign(
            anomaly_score=-detector.score_samples(described), is_anomaly=detector.predict(described) == -1
        ).sort_values("anomaly_score", ascending=False)
        flagged = int(anomalies["is_anomaly"].sum())
        client.save_model(detector, name="anomaly_detection", metrics={"cases": len(described), "anomalies": flagged})
        display(anomalies.head(10).round(3), metadata={"title": "Most unusual cases"})

# %% [markdown]
# ## Which cases will take long?
#
# A random forest tells, when a case begins, whether it will belong to the slower half. The score is honest: the model
# learns from the past and is tested on cases that began later, "slow" is defined by the past alone, and the features
# are known at that moment (who starts the case, with what, when, and how busy the process is). Case attributes are left
# out: a log shows their final values. Cases that began too late for the log to show their outcome are not tested.

# %%
early = pm.early_cases(events, events=1)
split = pm.temporal_split(early)
slow_hours = early.remaining_hours[split.train].median()
is_slow = early.remaining_hours > slow_hours
log_end = events[pm.TIME].max()
observed = early.moment <= log_end - pd.Timedelta(hours=slow_hours) if len(split.train) else early.moment.isna()
test = split.test[observed[split.test].to_numpy()]
learnable = min(len(split.train), len(test)) >= MIN_CASES // 2 and is_slow[split.train].any() and is_slow[test].any()

# %%
scores = None
if "process_prediction" in (ml_models or []) and not learnable:
    notes.append(
        f"No prediction model: it needs {MIN_CASES // 2} cases to learn from and as many later ones to test on, both"
        f" with slow ones; the log gives {len(split.train)} and {len(test)}."
    )
    print(notes[-1])
elif "process_prediction" in (ml_models or []):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

    learned = pm.one_hot(early.features.loc[split.train])
    tested = pm.one_hot(early.features.loc[test], like=learned)
    model = RandomForestClassifier(n_estimators=120, min_samples_leaf=5, random_state=7)
    model.fit(learned, is_slow[split.train])
    chance = model.predict_proba(tested)[:, 1]
    truth = is_slow[test]
    scores = {
        "accuracy": accuracy_score(truth, chance > 0.5),
        "baseline_accuracy": max(truth.mean(), 1 - truth.mean()),
        "balanced_accuracy": balanced_accuracy_score(truth, chance > 0.5),
        "roc_auc": roc_auc_score(truth, chance),
        "train_cases": len(learned),
        "test_cases": len(tested),
        "slow_share_in_test": truth.mean(),
        "slow_means_over_hours": slow_hours,
        "split_at": split.moment,
    }
    client.save_model(model, name="process_prediction", metrics=scores, features=list(learned.columns))
    display(pd.Series(scores, name="score").to_frame(), metadata={"title": "Prediction scores"})

# %% [markdown]
# ## The enriched log
#
# All rows and columns of the dataset, in their order, and new columns after them.

# %%
client.progress(0.8, "Enriching the log")
new = pm.event_measures(events, **clock)
new["in_analysis"] = events.index.isin(chosen.index)
if anomalies is not None:
    new["anomaly_score"] = events[pm.CASE].map(anomalies["anomaly_score"]).astype(float)
    new["is_anomaly"] = events[pm.CASE].map(anomalies["is_anomaly"]).astype("boolean")
enriched = pm.add_columns(log, new)
if opened.bound:
    client.save_enriched_dataset(enriched, name="enriched_event_log")
display(enriched.head(10), metadata={"title": "Enriched event log"})

# %% [markdown]
# ## Report

# %%
hours = dict.fromkeys(("median_hours", "p90_hours", "duration_hours", "longest_wait_hours"), pm.human_hours)
percent = dict.fromkeys(("share", "cumulative_share", "case_share", "variant_share"), "{:.1%}".format)
look = {**hours, **percent}

report = pm.Report("Process mining report", f"{opened.name} · {total:,} cases · {len(chosen):,} events")
report.tiles(
    {
        "cases": f"{total:,}",
        "median duration": metrics["medianCycleTime"],
        "variants": f"{len(variants):,}",
        "cases with rework": f"{metrics['reworkedCasesPercent'] or 0:.1f} %",
        "unusual cases": "–" if anomalies is None else f"{flagged:,}",
    }
)
report.notes("About this run", notes)

# %%
if "performance" in show:
    report.section("Case durations", "From the first to the last event of each case.")
    if generate_visualizations:
        report.figure(duration_chart, "Histogram of case durations")
    report.section("Bottlenecks", "Hand-overs ranked by all the time that cases spent in them.")
    if generate_visualizations:
        report.figure(bottleneck_chart, "The hand-overs with the longest waiting in all")
    report.table(waits[["source", "target", "count", "median_hours", "p90_hours", "share"]], look, rows=10)
    report.section("Throughput per activity", "Hours are counted from the step before.")
    essential = ["activity", "events", "case_share", "per_week", "median_hours", "p90_hours"]
    report.table(throughput[essential], look, rows=20)

# %%
if "variants" in show:
    report.section("The process as it runs")
    if generate_visualizations:
        report.figure(flow_chart, "Directly-follows graph of the main activities")
    report.section("Most frequent variants", f"{len(variants):,} different paths; the most frequent ones:")
    report.table(variants[["variant", "cases", "share", "cumulative_share", "median_hours"]], look, rows=8)
    report.section("Rework", "Activities that cases go through more than once.")
    report.table(repeated, look, rows=10)

# %%
if anomalies is not None:
    report.section("Unusual cases", "Scored by an isolation forest; a higher score is more unusual in this log.")
    shown = ["case", "duration_hours", "longest_wait_hours", "events", "repetitions", "variant_share", "anomaly_score"]
    report.table(anomalies.reset_index()[shown], look, rows=10)
if scores:
    better = scores["roc_auc"] - 0.5
    verdict = "It ranks cases clearly better than chance." if better > 0.1 else "It is hardly better than chance."
    report.section("Which cases will take long?", f"{verdict} Tested on {scores['test_cases']:,} later cases.")
    report.text(
        f"Slow means over {pm.human_hours(slow_hours)}."
        f" Ranking (ROC AUC) {scores['roc_auc']:.2f}, where 0.50 is chance;"
        f" accuracy {scores['accuracy']:.1%}, where always answering the same gives {scores['baseline_accuracy']:.1%};"
        f" balanced accuracy {scores['balanced_accuracy']:.1%}, where that gives 50.0%."
    )
    drivers = pd.DataFrame({"known when the case begins": learned.columns, "weight": model.feature_importances_})
    report.table(drivers.sort_values("weight", ascending=False), {"weight": "{:.1%}".format}, rows=8)
client.save_report(report.html(), name="Process mining report")
client.progress(1.0, "Done")
print("Report saved.", *(f"- {note}" for note in notes), sep="\n")
