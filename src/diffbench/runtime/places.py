"""Where the files of a run lie."""

from pathlib import Path

REFERENCES = Path("reports/reference")  # runs made elsewhere and committed


class Places:
    """Where the files of a run lie: what machines need under results/, what people read under reports/."""

    def __init__(self, run: str):
        self.results, self.reports = Path("results") / run, Path("reports") / run
        self.data = self.results / "data.npz"
        self.data_facts = self.results / "data.json"
        self.classifier = self.results / "classifier.safetensors"
        self.other_classifiers = self.results / "classifiers.safetensors"
        self.classifier_facts = self.results / "classifier.json"
        self.reference = self.results / "reference.npz"
        self.floors = self.results / "reference.json"
        self.tables = self.reports / "tables"
        self.metrics, self.headline = self.reports / "metrics.json", self.reports / "headline.json"
        self.plots = self.reports / "plots"
        self.report = self.reports / "report.html"
        self.samples_poster, self.quality_poster = self.reports / "samples.png", self.reports / "quality.png"
        self.manifest = self.results / "manifest.json"
        self.checkpoints = self.results / "checkpoints"
        self.locks = self.results / "locks"
        self.records = self.results / "records"

    def train(self, paradigm: str, seed: int) -> Path:
        """Folder of a training's outputs: model.safetensors, snapshots.safetensors, history.json, cost.json."""
        return self.results / "train" / paradigm / str(seed)

    def resume_point(self, training: str) -> Path:
        """Where a training, named PARADIGM-SEED, goes on after a kill; kept until another job reads its files."""
        return self.checkpoints / f"{training}.safetensors"

    def samples(self, paradigm: str, seed: int, steps: str) -> Path:
        """Images of a sampling stage; its cost lies beside it as .json."""
        return self.results / "samples" / paradigm / str(seed) / f"{steps}.npz"

    def evaluation(self, paradigm: str, seed: int) -> Path:
        """Scores of a trained network's cells; the pictures for the report lie beside it as .png."""
        return self.results / "evaluate" / paradigm / f"{seed}.json"

    def failures(self, paradigm: str, seed: int) -> Path:
        """Pictures of the worst samples of a trained network, described in the scores."""
        return self.results / "evaluate" / paradigm / f"{seed}-failures.png"

    def clock(self, paradigm: str, seed: int) -> Path:
        """What the cells of a trained network took, in the order of the scores."""
        return self.results / "evaluate" / paradigm / f"{seed}-cost.json"

    def convergence(self, paradigm: str, seed: int) -> Path:
        """Scores of a training's snapshots; samples of each lie beside it as .png."""
        return self.results / "convergence" / paradigm / f"{seed}.json"

    def probe(self, paradigm: str, seed: int) -> Path:
        """Errors by noise level and the straightness of a trained network; its denoising lies beside it as .png."""
        return self.results / "probe" / paradigm / f"{seed}.json"

    def tuning(self, paradigm: str) -> Path:
        """Scores of a paradigm's learning rates in the search."""
        return self.results / "tune" / f"{paradigm}.json"
