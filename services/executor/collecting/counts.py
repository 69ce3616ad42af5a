"""The numbers of a run's results that its status object shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.contracts.executions import EnrichedData, OutputCounts


@dataclass
class Counts:
    """How many there are of each kind."""

    data_frames: int = 0
    plots: int = 0
    models: int = 0
    reports: int = 0
    records: int = 0
    new_columns: list[str] = field(default_factory=list)
    enriched: bool = False

    def add(self, other: Counts) -> None:
        """Add those of another part of the run."""
        self.data_frames += other.data_frames
        self.plots += other.plots
        self.models += other.models
        self.reports += other.reports
        self.records += other.records
        known = set(self.new_columns)
        self.new_columns += [name for name in other.new_columns if name not in known]
        self.enriched = self.enriched or other.enriched

    def answer(self) -> OutputCounts:
        """As the API shows them."""
        enriched = EnrichedData(record_count=self.records, new_columns=self.new_columns) if self.enriched else None
        return OutputCounts(
            data_frames=self.data_frames,
            plots=self.plots,
            models=self.models,
            reports=self.reports,
            enriched_data=enriched,
        )
