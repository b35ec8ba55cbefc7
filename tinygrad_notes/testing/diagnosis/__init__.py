"""The diagnosis: which plausible correction makes a wrong formula right, in words for a learner."""

from .facts import Diagnosis, Network, Sample, raised
from .search import diagnose

__all__ = ["Diagnosis", "Network", "Sample", "diagnose", "raised"]
