"""The networks are measured by the same assertion as the layers, which lives beside the layers' tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "fourier"))
