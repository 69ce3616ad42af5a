"""The notebooks both sides run."""

from __future__ import annotations

ONE_LINE = ["print(1)"]

DATA_SCIENCE = [
    "import numpy as np\nimport pandas as pd",
    "import matplotlib.pyplot as plt\nfrom sklearn.ensemble import RandomForestClassifier",
    "rng = np.random.default_rng(7)\nframe = pd.DataFrame(rng.normal(size=(500, 4)), columns=list('abcd'))",
    "frame.describe()",
    "model = RandomForestClassifier(n_estimators=10, random_state=7).fit(frame, frame.a > 0)",
    "model.score(frame, frame.a > 0)",
    "frame.a.hist()\nplt.show()",
]

HUNDRED_CELLS = [f"print({number})" for number in range(100)]
