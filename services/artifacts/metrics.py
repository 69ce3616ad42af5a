"""What the artifacts service counts, besides what every service does."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

BYTES_IN = Counter("atelier_artifacts_bytes_in_total", "Bytes received", ["what"])
BYTES_OUT = Counter("atelier_artifacts_bytes_out_total", "Bytes sent", ["what"])
CONVERSIONS = Counter("atelier_artifacts_conversions_total", "Dataset files converted", ["format", "outcome"])
CONVERSION_SECONDS = Histogram(
    "atelier_artifacts_conversion_seconds",
    "Time from a dataset file's first byte to its Parquet file",
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
REPORT_SECONDS = Histogram(
    "atelier_artifacts_report_seconds",
    "Time to make a report that was asked for",
    ["format"],
    buckets=(0.5, 1, 2, 5, 10, 20, 60, 120),
)
PROFILE_SECONDS = Histogram(
    "atelier_artifacts_profile_seconds",
    "Time to compute the profile of a dataset version",
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
ORPHANS_FOUND = Counter("atelier_artifacts_orphans_total", "Objects without a row that the sweep found")
UPLOADS_ABORTED = Counter(
    "atelier_artifacts_uploads_aborted_total", "Multipart uploads that the sweep aborted: their process had died"
)
SWEEP_SECONDS = Histogram(
    "atelier_artifacts_sweep_seconds",
    "Time to search the object store for objects without a row",
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
OBJECTS_REMOVED = Counter("atelier_artifacts_objects_removed_total", "Objects removed from the object store")
