# Groups customers, or cases, by how the process went for them. Percent format: "# %%" begins a cell.

# %% [markdown]
# # Customer segmentation
#
# Which kinds of customers does this process have? Customers whose cases run alike come into one segment: how long they
# take, how much is repeated, how long they wait, how unusual their paths are. The notebook chooses the number of
# segments, tells what sets each apart, checks whether the segments hold on other data, and adds them to the log. A
# customer is whatever column you name; without one, each case stands for itself.

# %% tags=["parameters"]
dataset_id: str = ""  # the dataset of this run; empty: the one that is bound to the notebook
customer_column: str = ""  # the column that names the customer of a case; empty: each case stands for itself
segments: int = 0  # how many segments; 0: the number that fits best
max_segments: int = 6  # the most that are tried when segments is 0
analysis_period: str = ""  # cases active in 2024, 2024-Q1, 2024-01, 2024-01-15 or 2024-01..2024-03; empty: all
include_weekends: bool = True  # False: Saturdays and Sundays do not count in durations and waiting times

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
log, notes = opened.log, opened.notes  # notes: everything the reader of the report should know about this run
selection = pm.select_cases(opened.events, analysis_period=analysis_period)
events = selection.events
notes += selection.notes
if not include_weekends:
    notes.append("Saturdays and Sundays (UTC) are not counted in durations and waiting times.")

# %% [markdown]
# ## Who is a customer
#
# A case belongs to the first customer that one of its events names.

# %%
customer_of = pd.Series(events[pm.CASE].dropna().unique())
customer_of.index = pd.Index(customer_of, name="case")
who = "case"
if customer_column and customer_column in log.columns:
    who = customer_column
    named = pd.DataFrame({"case": opened.events[pm.CASE], "customer": log[customer_column].array}).loc[events.index]
    customer_of = customer_of.index.to_series().map(named.dropna().groupby("case")["customer"].first()).dropna()
    if len(customer_of) < events[pm.CASE].nunique():
        notes.append(f"{events[pm.CASE].nunique() - len(customer_of):,} cases name no {customer_column}: left out.")
elif customer_column:
    notes.append(f"The log has no column {customer_column!r}: each case stands for itself.")
print(f"{customer_of.nunique():,} different values of {who} in {len(customer_of):,} cases.")

# %% [markdown]
# ## What describes a customer
#
# Averages over a customer's cases. Durations and counts are taken on a logarithmic scale: a case of two years differs
# from one of one year as one of two days does from one of a day.

# %%
client.progress(0.25, "Describing customers")
NAMES = {  # of a feature: its name, and what a customer is called who has little or much of it
    "duration_hours": ("duration", "quick", "long"),
    "events": ("events a case", "few events", "many events"),
    "activities": ("kinds of activities", "few activities", "many activities"),
    "repetitions": ("repetitions", "no rework", "much rework"),
    "longest_wait_hours": ("longest wait", "short waits", "long waits"),
    "variant_share": ("usual paths", "rare paths", "usual paths"),
    "cases": ("cases", "few cases", "many cases"),
}
per_case = pm.case_features(events, include_weekends=include_weekends)
described = per_case.loc[customer_of.index].drop(columns="weekend_events").groupby(customer_of.to_numpy()).mean()
if who != "case":
    described["cases"] = customer_of.value_counts()
scaled = np.log1p(described).assign(variant_share=described["variant_share"]).astype(float)
telling = [name for name in scaled.columns if scaled[name].nunique() > 1]

overview = pd.DataFrame(
    {"dataset": [opened.name], "customer": [who], "customers": [len(described)], "cases": [len(customer_of)]}
)
display(overview, metadata={"title": "Dataset overview"})

# %% [markdown]
# ## The segments
#
# k-means on scaled features. The number of segments is the one with the best silhouette (how much closer customers are
# to their own segment than to the next one; 0 is no structure, 1 is perfect). Stability tells whether the segments
# would come out again: two halves of the customers are grouped apart, and the agreement about all customers is measured
# (adjusted Rand index; 0 is chance, 1 is the same).

# %%
MIN_CUSTOMERS = 20  # below that, segments would be single customers
SAMPLE = 2000  # customers for the silhouette, which compares every two
model = None
segment_of = pd.Series(pd.NA, index=described.index, dtype="Int64")
if len(described) < MIN_CUSTOMERS or not telling:
    reason = f"it has {len(described)}" if telling or described.empty else "all of them are the same"
    notes.append(f"No segments: they need {MIN_CUSTOMERS} different customers, {reason}.")
    print(notes[-1])
else:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, silhouette_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    client.progress(0.4, "Looking for segments")
    table = scaled[telling]
    different = len(table.drop_duplicates())

    def grouped(rows, count):
        return make_pipeline(StandardScaler(), KMeans(count, n_init=10, random_state=7)).fit(rows)

    def silhouette(fitted):
        points = fitted[0].transform(table)
        return silhouette_score(points, fitted.predict(table), sample_size=min(SAMPLE, len(table)), random_state=7)

    highest = min(max(2, max_segments), different - 1, len(table) // 5)
    wanted = [min(segments, different - 1)] if segments > 1 else range(2, highest + 1)
    tried = {count: grouped(table, count) for count in wanted if count > 1}
    if segments == 1 or not tried:
        notes.append("No segments: the customers differ too little to be told apart.")
        print(notes[-1])
    else:
        scores = {count: float(silhouette(fitted)) for count, fitted in tried.items()}
        best = max(scores, key=scores.get)
        model = tried[best]
        if segments > 1 and best != segments:
            notes.append(f"Only {best} segments are possible among {different} different customers.")
            print(notes[-1])

        shuffled = np.random.default_rng(7).permutation(len(table))
        halves = [table.iloc[half] for half in np.array_split(shuffled, 2)]
        stable = all(len(half.drop_duplicates()) >= best for half in halves)
        stability = adjusted_rand_score(*(grouped(half, best).predict(table) for half in halves)) if stable else np.nan

# %%
if model is not None:
    raw = pd.Series(model.predict(table), index=table.index)
    by_size = {old: new for new, old in enumerate(raw.value_counts().index, start=1)}  # segment 1 is the largest
    segment_of = raw.map(by_size).astype("Int64")
    points = pd.DataFrame(model[0].transform(table), index=table.index, columns=telling)
    distance = pd.Series(model.transform(table).min(axis=1), index=table.index)
    profile = points.groupby(segment_of).mean()  # in standard deviations from the average customer

    def called(row):
        ranked = row[row.abs().sort_values(ascending=False, kind="stable").index]
        words = [NAMES[name][2 if value > 0 else 1] for name, value in ranked.items() if abs(value) > 0.35]
        return ", ".join(words[:2]) or "average in everything"

    names = profile.apply(called, axis=1)
    typical = described.groupby(segment_of).median().round(3)
    summary = pd.DataFrame({"segment": names.index, "name": names.to_numpy()})
    summary["customers"] = segment_of.value_counts().reindex(names.index).to_numpy()
    summary["share"] = summary["customers"] / len(segment_of)
    summary = pd.concat([summary, typical.reset_index(drop=True)], axis="columns")
    display(summary.round(3), metadata={"title": "Segments"})
    metrics = {"silhouette": scores[best], "stability": stability, "segments": best, "customers": len(table)}
    client.save_model(model, name="customer_segmentation", metrics=metrics, features=telling)
    display(pd.Series(metrics, name="score").to_frame(), metadata={"title": "How good the segments are"})

# %% [markdown]
# ## How the segments differ
#
# The map shows each customer once, near to those that are alike: the two directions in which customers differ most. The
# profile shows each segment against the average customer, with the segment's median in words.

# %%
client.progress(0.6, "Drawing the segments")
PALETTE = ["#2f6fb5", "#d1495b", "#3a9d6e", "#e0a030", "#7b5ea7", "#4fb3bf", "#9c6b4e", "#8a94a6"]
SHOWN = 4000  # points; more are a blot


def text_of(name, value):
    if name.endswith("_hours"):
        return pm.human_hours(value)
    return f"{value:.0%}" if name == "variant_share" else f"{value:.1f}".removesuffix(".0")


if model is not None:
    from sklearn.decomposition import PCA

    shown = points.sample(min(SHOWN, len(points)), random_state=7)
    flat = PCA(2).fit(points) if len(telling) > 1 else None
    place = flat.transform(shown) if flat else np.column_stack([shown, np.zeros(len(shown))])
    told = flat.explained_variance_ratio_.sum() if flat else 1.0
    figure = pm.style.new_figure(9.0, 4.8)
    axes = pm.style.plain_axes(
        figure, "Who is like whom", f"one dot a {who}; the map tells {told:.0%} of all differences"
    )
    jitter = np.random.default_rng(7).normal(0, 0.04, place.shape)  # equal customers would hide one another
    for number, name in names.items():
        mine = (segment_of[shown.index] == number).to_numpy()
        x, y = (place[mine] + jitter[mine]).T
        axes.scatter(
            x, y, s=16, alpha=0.55, linewidths=0, color=PALETTE[(number - 1) % len(PALETTE)], label=f"{number}: {name}"
        )
    axes.set(xticks=[], yticks=[])
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8.5, labelcolor="#1d2939")
    for handle in legend.legend_handles:
        handle.set_alpha(1)
    figure.subplots_adjust(left=0.03, right=0.66, top=0.84, bottom=0.05)
    map_chart = pm.figure_png(figure)
    display(Image(map_chart), metadata={"title": "Customer map"})

    figure = pm.style.new_figure(9.0, 1.9 + 0.55 * len(profile))
    axes = pm.style.plain_axes(figure, "What sets the segments apart", "colour: against the average; text: the median")
    axes.imshow(profile, cmap="RdBu_r", vmin=-2, vmax=2, aspect="auto", alpha=0.8)
    for row, number in enumerate(profile.index):
        for column, name in enumerate(telling):
            dark = abs(profile.iloc[row, column]) > 1.3
            axes.text(
                column,
                row,
                text_of(name, typical.loc[number, name]),
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else "#1d2939",
            )
    axes.set_xticks(range(len(telling)), [NAMES[name][0] for name in telling], fontsize=9)
    axes.set_yticks(
        range(len(profile)), [f"segment {number}  ({(segment_of == number).sum():,})" for number in profile.index]
    )
    axes.tick_params(colors="#1d2939")
    axes.spines["bottom"].set_visible(False)
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.16, right=0.98, top=1 - 0.95 / height, bottom=0.45 / height)
    profile_chart = pm.figure_png(figure)
    display(Image(profile_chart), metadata={"title": "Segment profiles"})

# %% [markdown]
# ## What happens more often in a segment
#
# The share of a segment's cases that an activity occurs in, against all cases. Only what is common enough to matter.

# %%
mix = pd.DataFrame(columns=["segment", "activity", "share", "overall", "difference"])
if model is not None:
    occurs = events[[pm.CASE, pm.ACTIVITY]].dropna().drop_duplicates()
    occurs["segment"] = occurs[pm.CASE].map(customer_of.map(segment_of))
    cases_in = customer_of.map(segment_of).value_counts()
    counted = occurs.dropna().groupby(["segment", pm.ACTIVITY]).size().unstack(fill_value=0)
    share = counted.div(cases_in.reindex(counted.index).astype(float), axis="index")
    overall = counted.sum() / cases_in.sum()
    long = share.stack().rename("share").reset_index().rename(columns={pm.ACTIVITY: "activity"})
    long["overall"] = long["activity"].map(overall).astype(float)
    long["difference"] = long["share"] - long["overall"]
    mix = long[long["difference"].abs() > 0.05].sort_values("difference", key=abs, ascending=False)
    display(mix.head(15).round(3), metadata={"title": "Activities that tell segments apart"})

# %% [markdown]
# ## The enriched log
#
# All rows and columns of the dataset, in their order, and new columns after them: the segment of the event's customer,
# its name, and how typical the customer is of it (0 is the middle of the segment).

# %%
client.progress(0.8, "Enriching the log")
new = pd.DataFrame(index=opened.events.index)
segment_of_case = customer_of.map(segment_of)
new["segment"] = opened.events[pm.CASE].map(segment_of_case).astype("Int64")
if model is not None:
    new["segment_name"] = new["segment"].map(names).astype(object)
    new["segment_distance"] = opened.events[pm.CASE].map(customer_of.map(distance)).astype(float).round(4)
enriched = pm.add_columns(log, new)
if opened.bound:
    client.save_enriched_dataset(enriched, name="segmented_event_log")
display(enriched.head(10), metadata={"title": "Enriched event log"})

# %%
total = len(customer_of)
metrics_shown = {
    "cases": total,
    "customers": len(described),
    "segments": 0 if model is None else best,
    "silhouette": None if model is None else round(scores[best], 3),
    "stability": None if model is None or np.isnan(stability) else round(float(stability), 3),
    "largestSegmentPercent": None if model is None else round(100 * float(summary["share"].iloc[0]), 1),
}
display(JSON(metrics_shown), metadata={"title": "Segmentation metrics"})
client.save_value("segmentation_metrics", metrics_shown)

# %% [markdown]
# ## Report

# %%
report = pm.Report("Customer segmentation", f"{opened.name} · a customer is a {who} · {total:,} cases")
tiles = {"customers": f"{len(described):,}", "segments": "–", "silhouette": "–", "stability": "–"}
if model is not None:
    tiles |= {"segments": best, "silhouette": f"{scores[best]:.2f}"}
    tiles |= {} if np.isnan(stability) else {"stability": f"{stability:.2f}"}
report.tiles(tiles)
report.notes("About this run", notes)
if model is not None:
    strong = "clear" if scores[best] > 0.5 else "visible" if scores[best] > 0.25 else "weak"
    report.section("The segments", f"The structure is {strong}: the silhouette is {scores[best]:.2f} of at most 1.")
    hours = {"share": "{:.1%}".format, "variant_share": "{:.0%}".format}
    hours |= dict.fromkeys(("duration_hours", "longest_wait_hours"), pm.human_hours)
    report.table(summary.drop(columns="activities"), hours)
    report.section("How they differ")
    report.figure(profile_chart, "Each segment against the average customer")
    report.figure(map_chart, "Map of customers, coloured by segment")
    report.section(
        "Activities that tell them apart", "Share of the segment's cases with the activity, and of all cases."
    )
    percent = dict.fromkeys(("share", "overall"), "{:.0%}".format) | {"difference": "{:+.0%}".format}
    report.table(mix, percent, rows=15)
client.save_report(report.html(), name="Customer segmentation report")
client.progress(1.0, "Done")
print("Report saved.", *(f"- {note}" for note in notes), sep="\n")
