# Finds the cases that run unlike the others, and says why. Percent format: "# %%" begins a cell.

# %% [markdown]
# # Anomaly detection
#
# Which cases should somebody look at? A case is unusual when it takes a step that hardly any other takes, waits far
# longer at a step than others do there, or is altogether unlike the rest. Each gets a score and, more useful, a reason
# in words. There is no truth to compare with, so there is no accuracy; instead the notebook plants strange cases in
# the log and tells how many of them it finds.

# %% tags=["parameters"]
dataset_id: str = ""  # the dataset of this run; empty: the one that is bound to the notebook
anomaly_share: float = 0.05  # how large a part of the cases is called unusual, 0.001 to 0.5
rare_step: float = 0.01  # a step is rare when fewer than this share go there from the same place
analysis_period: str = ""  # cases active in 2024, 2024-Q1, 2024-01, 2024-01-15 or 2024-01..2024-03; empty: all
include_weekends: bool = True  # False: Saturdays and Sundays do not count in durations and waiting times
planted_cases: int = 50  # strange cases planted to test the method; 0: no test

# %% [markdown]
# ## The event log

# %%
import numpy as np
import pandas as pd
from IPython.display import JSON, Image, display
from mindzie_sdk import ProcessMiningClient

import process_mining_utils as pm

pd.set_option("display.max_colwidth", 200)  # reasons are sentences
client = ProcessMiningClient()
client.progress(0.05, "Loading the event log")
opened = pm.open_log(client, dataset_id)
log, notes = opened.log, opened.notes  # notes: everything the reader of the report should know about this run
selection = pm.select_cases(opened.events, analysis_period=analysis_period)
events = selection.events.reset_index(drop=True)
notes += selection.notes
if not include_weekends:
    notes.append("Saturdays and Sundays (UTC) are not counted in durations and waiting times.")
share = min(0.5, max(0.001, anomaly_share))
if share != anomaly_share:
    notes.append(f"anomaly_share {anomaly_share} was taken as {share}.")
overview = pd.DataFrame(
    {
        "dataset": [opened.name],
        "events": [len(events)],
        "cases": [events[pm.CASE].nunique()],
        "activities": [events[pm.ACTIVITY].nunique()],
    }
)
display(overview, metadata={"title": "Dataset overview"})

# %% [markdown]
# ## Every step, judged among its like
#
# For each step from one activity to the next: how rare it is to go there from here, and how its wait compares to other
# waits at the same step (in robust standard deviations of the logarithm, so that one extreme wait does not hide
# another).

# %%
MIN_LIKE = 20  # steps of the same kind from which on a wait can be compared
START, END = "the start", "the end"


def judge_steps(rows):
    """One row a step, case after case in time order: surprise (how rare, in nats) and slowness (how slow)."""
    rows = rows.dropna(subset=[pm.CASE, pm.ACTIVITY])
    order = rows.sort_values([pm.CASE, pm.TIME], kind="stable", na_position="first")
    same = order[pm.CASE].eq(order[pm.CASE].shift())
    clock = pd.Series(pm.elapsed_hours(order[pm.TIME], include_weekends=include_weekends), index=order.index)
    steps = pd.DataFrame(
        {
            "case": order[pm.CASE],
            "source": order[pm.ACTIVITY].astype(object).shift().where(same, START),
            "target": order[pm.ACTIVITY].astype(object),
            "hours": (clock - clock.shift()).where(same),
        }
    )
    last = steps[~order[pm.CASE].eq(order[pm.CASE].shift(-1))]
    ends = pd.DataFrame(
        {"case": last["case"], "source": last["target"], "target": END, "hours": np.nan}, index=last.index
    )
    steps = pd.concat([steps.assign(is_end=False), ends.assign(is_end=True)])
    here = steps.groupby("source")["case"].transform("size")
    there = steps.groupby(["source", "target"])["case"].transform("size")
    steps["chance"] = there / here
    steps["surprise"] = -np.log(steps["chance"])
    log_hours = np.log1p(steps["hours"])
    group = log_hours.groupby([steps["source"], steps["target"]])
    usual = group.transform("median")
    spread = (log_hours - usual).abs().groupby([steps["source"], steps["target"]]).transform("median") * 1.4826
    comparable = group.transform("count") >= MIN_LIKE
    steps["usual_hours"] = np.expm1(usual)
    steps["slowness"] = ((log_hours - usual) / spread.clip(lower=0.1)).where(comparable).clip(lower=0).fillna(0.0)
    return steps


client.progress(0.25, "Judging every step")
steps = judge_steps(events)
rare = (
    steps[steps["chance"] < rare_step]
    .groupby(["source", "target"])
    .agg(cases=("case", "nunique"), chance=("chance", "first"))
)
rare = rare.sort_values(["chance", "cases"]).reset_index()
if len(rare):
    display(rare.head(10).round(4), metadata={"title": "Rarest steps"})
else:
    print(f"No step is so rare that fewer than {rare_step:.1%} of the cases at its begin take it.")

# %% [markdown]
# ## Every case, scored three ways
#
# The rarest step, the slowest step, and an isolation forest over the whole case. Each is turned into a rank among all
# cases; the score is their mean, with the two highest counting most, because one good reason is enough.

# %%
MIN_CASES = 30  # below that, everything is unusual


def score_cases(rows, judged):
    """One row a case with its three marks and the score, 0 to 1."""
    from sklearn.ensemble import IsolationForest

    described = pm.case_features(rows, include_weekends=include_weekends)
    marks = pd.DataFrame(index=described.index)
    by_case = judged.groupby("case")
    marks["rarest_step"] = by_case["surprise"].max()
    marks["slowest_step"] = by_case["slowness"].max()
    forest = IsolationForest(n_estimators=150, random_state=7).fit(described)
    marks["whole_case"] = -forest.score_samples(described)
    ranks = marks.fillna(0.0).rank(pct=True)
    top = np.sort(ranks.to_numpy(), axis=1)
    marks["score"] = top @ np.array([0.1, 0.35, 0.55])
    return forest, described, marks


marks = None
count = events[pm.CASE].nunique()
if count < MIN_CASES:
    notes.append(f"No anomalies: the comparison needs {MIN_CASES} cases, the log has {count}.")
    print(notes[-1])
else:
    client.progress(0.45, "Scoring cases")
    forest, described, marks = score_cases(events, steps)
    flagged = marks["score"].nlargest(max(1, round(share * len(marks)))).index
    marks["is_anomaly"] = marks.index.isin(flagged)

# %% [markdown]
# ## Why a case is unusual

# %%
reasons = pd.Series(dtype=object)
if marks is not None:
    ranks = marks[["rarest_step", "slowest_step", "whole_case"]].rank(pct=True)
    odd = steps[steps["case"].isin(flagged)]
    rarest = odd.sort_values("surprise", ascending=False).drop_duplicates("case").set_index("case")
    slowest = odd.sort_values("slowness", ascending=False).drop_duplicates("case").set_index("case")
    average = described.median()

    def why(case):
        found = []
        if slowest.loc[case, "slowness"] > 3.5:
            step = slowest.loc[case]
            usual = pm.human_hours(step["usual_hours"])
            found.append(f"{pm.human_hours(step['hours'])} from {step['source']} to {step['target']}, usual is {usual}")
        if rarest.loc[case, "chance"] < rare_step:
            step = rarest.loc[case]
            found.append(
                f"rare step from {step['source']} to {step['target']} ({step['chance']:.2%} of all that are there)"
            )
        row = described.loc[case]
        if row["repetitions"] > max(2, 3 * average["repetitions"]):
            found.append(f"{row['repetitions']:.0f} repetitions, the median is {average['repetitions']:.0f}")
        if not found:
            ratio = (np.log1p(row) - np.log1p(average)).abs().drop("variant_share")
            name = ratio.idxmax()
            say = pm.human_hours if name.endswith("_hours") else "{:.0f}".format
            found.append(
                f"{name.removesuffix('_hours').replace('_', ' ')} {say(row[name])}, the median is {say(average[name])}"
            )
        return "; ".join(found)

    reasons = pd.Series({case: why(case) for case in flagged}, dtype=object)
    listing = marks.loc[flagged, ["score"]].assign(duration_hours=described["duration_hours"], reason=reasons)
    listing = listing.rename_axis("case").reset_index()
    display(listing.head(15).round(3), metadata={"title": "Most unusual cases"})

# %% [markdown]
# ## Does it find strange cases?
#
# Copies of ordinary cases are made strange in one of three ways (two steps swapped, one wait made 50 times longer, one
# step repeated five times), put among the others, and everything is scored anew. Told is which part of them is called
# unusual; chance alone would give about the share of unusual cases.

# %%
found_share = None
if marks is not None and planted_cases > 0:
    client.progress(0.65, "Testing with planted cases")
    dice = np.random.default_rng(7)
    ordinary = described.index[(described["events"] >= 3) & ~marks["is_anomaly"].to_numpy()]
    chosen = (
        dice.choice(ordinary.to_numpy(), size=min(planted_cases, len(ordinary)), replace=False) if len(ordinary) else []
    )
    planted = []
    by_case = dict(iter(events[events[pm.CASE].isin(chosen)].groupby(pm.CASE, sort=False)))
    for number, case in enumerate(chosen):
        copy = by_case[case].sort_values(pm.TIME, kind="stable").assign(**{pm.CASE: f"planted-{number}"})
        at = int(dice.integers(1, len(copy)))
        if number % 3 == 0:
            names = copy[pm.ACTIVITY].to_numpy().copy()
            names[[at - 1, at]] = names[[at, at - 1]]
            copy[pm.ACTIVITY] = names
        elif number % 3 == 1:
            gap = copy[pm.TIME].iloc[at] - copy[pm.TIME].iloc[at - 1]
            late = np.arange(len(copy)) >= at
            copy[pm.TIME] = copy[pm.TIME].where(~late, copy[pm.TIME] + max(gap, pd.Timedelta(hours=1)) * 50)
        else:
            copy = pd.concat([copy] + [copy.iloc[[at]]] * 5).sort_values(pm.TIME, kind="stable")
        planted.append(copy)
    if planted:
        mixed = pd.concat([events.assign(**{pm.CASE: events[pm.CASE].astype(str)}), *planted], ignore_index=True)
        _, _, tested = score_cases(mixed, judge_steps(mixed))
        limit = tested["score"].nlargest(max(1, round(share * len(marks)) + len(planted))).min()
        strange = tested.index.astype(str).str.startswith("planted-")
        found_share = float((tested.loc[strange, "score"] >= limit).mean())
        by_chance = (round(share * len(marks)) + len(planted)) / len(tested)
        print(f"{found_share:.0%} of {len(planted)} planted cases are found; chance alone would find {by_chance:.0%}.")
    else:
        notes.append("No test with planted cases: no ordinary case has three events.")
        print(notes[-1])

# %%
if marks is not None:
    metrics = {"cases": len(marks), "anomalies": len(flagged), "planted_found": found_share}
    client.save_model(forest, name="anomaly_detection", metrics=metrics, features=list(described.columns))

# %% [markdown]
# ## Where the unusual cases are

# %%
client.progress(0.75, "Drawing")
if marks is not None:
    began = events.groupby(pm.CASE)[pm.TIME].min().reindex(marks.index).dt.tz_localize(None)
    hours = described["duration_hours"].clip(lower=1 / 60)
    figure = pm.style.new_figure(9.0, 4.2)
    note = f"{len(flagged):,} of {len(marks):,} cases, by begin and duration"
    axes = pm.style.plain_axes(figure, "Unusual cases over time", note)
    odd = marks["is_anomaly"].to_numpy()
    axes.scatter(began[~odd], hours[~odd], s=9, color="#b8c7da", alpha=0.6, linewidths=0, label="ordinary")
    axes.scatter(began[odd], hours[odd], s=24, color=pm.style.RED, alpha=0.85, linewidths=0, label="unusual")
    axes.set_yscale("log")
    ticks = {
        1 / 60: "≤ 1 minute",
        1: "1 hour",
        24: "1 day",
        168: "1 week",
        730: "1 month",
        8766: "1 year",
        43830: "5 years",
    }
    ticks = {at: text for at, text in ticks.items() if hours.min() / 1.5 <= at <= hours.max() * 1.5}
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_yticks([], minor=True)
    axes.yaxis.grid(True, color=pm.style.GRID)
    axes.set_axisbelow(True)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, 1.16), ncols=2, frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.1, right=0.98, top=0.8, bottom=0.1)
    time_chart = pm.figure_png(figure)
    display(Image(time_chart), metadata={"title": "Unusual cases over time"})

    kinds = {"waited far too long": "usual is", "rare step": "rare step", "many repetitions": "repetitions,"}
    tally = pd.Series({kind: int(reasons.str.contains(mark, regex=False).sum()) for kind, mark in kinds.items()})
    tally["unlike the rest as a whole"] = int((~reasons.str.contains("|".join(kinds.values()))).sum())
    tally = tally[tally > 0].sort_values()
    figure = pm.style.new_figure(9.0, 1.2 + 0.5 * len(tally))
    axes = pm.style.plain_axes(figure, "Why they are unusual", "a case can have several reasons")
    axes.barh(tally.index, tally.to_numpy(), color=pm.style.BLUE, height=0.6)
    for place, value in enumerate(tally):
        axes.text(value, place, f" {value:,}", va="center", fontsize=9, color=pm.style.MUTED)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", labelcolor=pm.style.INK, labelsize=9)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.25, right=0.93, top=1 - 0.85 / height, bottom=0.1 / height)
    reason_chart = pm.figure_png(figure)
    display(Image(reason_chart), metadata={"title": "Reasons"})

# %% [markdown]
# ## The enriched log
#
# All rows and columns of the dataset, in their order, and new columns after them: of the case its score, whether it is
# called unusual and why; of the event how likely its step was and how slow.

# %%
client.progress(0.9, "Enriching the log")
arrivals = steps[~steps["is_end"]].copy()
arrivals.index = selection.events.index[arrivals.index]
new = pd.DataFrame(index=opened.events.index)
new["step_chance"] = arrivals["chance"].reindex(new.index).astype(float).round(6)
new["step_slowness"] = arrivals["slowness"].reindex(new.index).astype(float).round(3)
if marks is not None:
    new["anomaly_score"] = opened.events[pm.CASE].map(marks["score"]).astype(float).round(6)
    new["is_anomaly"] = opened.events[pm.CASE].map(marks["is_anomaly"]).astype("boolean")
    new["anomaly_reason"] = opened.events[pm.CASE].map(reasons).astype(object)
enriched = pm.add_columns(log, new)
if opened.bound:
    client.save_enriched_dataset(enriched, name="anomalies_in_event_log")
display(enriched.head(10), metadata={"title": "Enriched event log"})

# %%
total = events[pm.CASE].nunique()
result = {
    "cases": total,
    "anomalies": 0 if marks is None else len(flagged),
    "rareSteps": len(rare),
    "plantedFoundPercent": None if found_share is None else round(100 * found_share, 1),
    "reasons": {} if marks is None else {kind: int(value) for kind, value in tally.items()},
}
display(JSON(result), metadata={"title": "Anomaly metrics"})
client.save_value("anomaly_metrics", result)

# %% [markdown]
# ## Report

# %%
report = pm.Report("Anomaly report", f"{opened.name} · {total:,} cases · {len(events):,} events")
report.tiles(
    {
        "cases": f"{total:,}",
        "unusual cases": "–" if marks is None else f"{len(flagged):,}",
        "kinds of rare steps": f"{len(rare):,}",
        "planted cases found": "–" if found_share is None else f"{found_share:.0%}",
    }
)
report.notes("About this run", notes)
if marks is not None:
    report.section("Cases to look at first", "The highest scores, each with its reasons.")
    report.table(listing, {"score": "{:.3f}".format, "duration_hours": pm.human_hours}, rows=25)
    report.section("Why they are unusual")
    report.figure(reason_chart, "How many cases have which reason")
    report.section("When they happened")
    report.figure(time_chart, "Cases by begin and duration, the unusual ones in red")
report.section("Rare steps", f"Steps that fewer than {rare_step:.1%} take from the same place.")
report.table(rare, {"chance": "{:.2%}".format}, rows=15)
if found_share is not None:
    report.section("Can this be trusted?")
    report.text(
        f"{len(planted)} ordinary cases were made strange on purpose. {found_share:.0%} of them were found;"
        f" by chance it would be {by_chance:.0%}. What is unusual need not be wrong: the list tells where to look."
    )
client.save_report(report.html(), name="Anomaly report")
client.progress(1.0, "Done")
print("Report saved.", *(f"- {note}" for note in notes), sep="\n")
