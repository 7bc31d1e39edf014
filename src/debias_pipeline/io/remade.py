"""What every run makes anew."""

from debias_pipeline.io.atomic import AtomicJSONDataset


class RemadeJSONDataset(AtomicJSONDataset):
    """JSON that never counts as there.

    `kedro run --only-missing-outputs` leaves out what is there, but not a summary of cells of
    which some were missing: the node that makes it runs again.
    """

    def _exists(self) -> bool:
        return False
