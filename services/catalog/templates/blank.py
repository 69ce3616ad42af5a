# An empty notebook: a title and a cell for parameters. Percent format: "# %%" begins a cell.

# %% [markdown]
# # New notebook
#
# Describe here what this notebook does. The assignments in the next cell are its parameters: a run may change them.

# %% tags=["parameters"]
dataset_id: str = ""  # the dataset of this run; empty: the one that is bound to the notebook
