"""What a study found: its ledger as tidy frames, paired gains with intervals, figures and a report.

Opens on a laptop: needs neither torch nor Ray.
"""

from analysis.ledger import read_epochs, read_matrix, read_runs
from analysis.schema import LedgerError

__all__ = ["LedgerError", "read_epochs", "read_matrix", "read_runs"]
