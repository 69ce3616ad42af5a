"""What can go wrong in the SDK: one error a cause, each saying in one line what to do."""


class MindzieError(Exception):
    """Base of every error the SDK raises."""


class NotInARunError(MindzieError):
    """There is no run folder, or it cannot be read."""


class NoDatasetError(MindzieError):
    """The run has no dataset."""

    def __init__(self) -> None:
        super().__init__("no dataset is bound to this run: bind one with integration.datasetBinding or pass dataset_id")


class DatasetError(MindzieError):
    """The bound dataset cannot give what was asked for, for example a column it does not have."""


class InvalidNameError(MindzieError, ValueError):
    """The name of something to save is empty, too long or not printable text."""


class NotSavableError(MindzieError, TypeError):
    """A value, table, model, figure or report cannot be stored in the form that was asked for."""
