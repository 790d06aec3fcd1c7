"""The run folder `runs/<name>/`, its configuration and its jobs.

Which work is skipped is decided by the jobs' manifests (`jobs.job`) and by nothing else.
"""

import logging
import shutil
from pathlib import Path

from pipeline.config.load import as_stored
from pipeline.config.schema import Config
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.job import Job, as_now, differences

LOG = logging.getLogger(__name__)
CONFIG = "config.yaml"


class Run:
    """The folder of one run.

    Args:
        config: The resolved configuration; `config.name` names the folder.
        restart: Jobs that are asked for are started over: their folders are removed.
    """

    def __init__(self, config: Config, *, restart: bool) -> None:
        self.config = config
        self.restart = restart
        self._cleared: set[Path] = set()
        self.folder = Path("runs") / config.name

    def job(
        self,
        stage: str,
        *,
        sections: tuple[str, ...],
        inputs: list[Job],
        files: dict[str, str] | None = None,
        fold: int | None = None,
    ) -> Job:
        """Return the job `stage` (of `fold`), which depends on those sections, inputs and files.

        Args:
            stage: Name of the stage and of its folder.
            sections: Top-level keys of the configuration that its result depends on.
            inputs: Finished jobs whose outputs it reads, of this run or of others.
            files: Files from outside all runs that it reads: name and what tells versions apart.
            fold: The fold, for a stage that is per fold.

        Raises:
            ArtifactError: An input is not finished.
        """
        folder = self._folder_of(stage, fold)
        config = self.config.model_dump(mode="json", include=set(sections))
        read = {job.folder: job.identities for job in inputs}
        ours = [each for each in read if each.is_relative_to(self.folder)]
        of_other_runs = {str(each): now for each, (now, _) in read.items() if each not in ours}
        wanted = {
            "stage": stage,
            "fold": fold,
            "seed": self.config.seed,
            "config": config,
            "inputs": {str(each.relative_to(self.folder)): read[each][0] for each in ours},
            "files": (files or {}) | of_other_runs,
        }
        return Job(stage, fold, folder, wanted, {then: now for now, then in read.values()})

    def result(self, stage: str, *, fold: int | None = None) -> Job:
        """Return a finished job to read from, after checking that it belongs to this run.

        Raises:
            ArtifactError: It is not finished, or it or what it was made from was made for another
                configuration.
        """
        folder = self._folder_of(stage, fold)
        job = Job(stage, fold, folder, {})
        manifest = job.manifest
        now = self.config.model_dump(mode="json", include={*manifest["config"], "seed"})
        then = as_now(manifest["config"], {*manifest["config"]}) | {"seed": manifest["seed"]}
        found = differences(now, then)
        for name, identity in manifest["inputs"].items():
            parent, _, leaf = name.rpartition("/")
            if leaf.startswith("fold"):
                read = self.result(parent, fold=int(leaf.removeprefix("fold")))
            else:
                read = self.result(name)
            if identity not in read.identities:
                found.append(f"{read.label} was made anew since")
        job.refuse(folder, "finished", found)
        return job

    def folder_of_other(self, name: str, *, key: str) -> Path:
        """Return the folder of another run, whose networks saw nothing that is held out here.

        Args:
            name: Of the run.
            key: The setting that names it, for messages.

        Raises:
            ConfigError: There is no such run.
            ArtifactError: It, or this run, is not split yet; or its folds are others.
        """
        folder = self.folder.with_name(name)
        if folder == self.folder or not (folder / CONFIG).is_file():
            raise ConfigError(
                f"{key}: {name}: expected another run, which has predicted; {folder} is none. Name "
                f"one of {folder.parent}."
            )
        splits = [Job("split", None, each / "split", {}) for each in (self.folder, folder)]
        here, there = (job.manifest["outputs"]["folds.csv"]["sha256"][:12] for job in splits)
        if here != there:
            raise ArtifactError(
                f"{key}: {folder}: expected the folds of this run ({here}), got others ({there}), "
                "so its networks may have seen what is held out here. Give both runs the same "
                "data, folds and seed."
            )
        return folder

    def _folder_of(self, stage: str, fold: int | None) -> Path:
        return self.folder / stage / ("" if fold is None else f"fold{fold}")

    def has_work(self, job: Job) -> bool:
        """Tell whether the job has work to do; with `restart`, first clear what it did before."""
        if self.restart and job.folder not in self._cleared:
            self._cleared.add(job.folder)
            if job.folder.is_dir():
                LOG.info("%s: starting over", job.label)
                shutil.rmtree(job.folder)
        return not job.is_done()

    def begin(self, job: Job) -> bool:
        """Tell whether the job has work to do; make its folder, and store the configuration."""
        if not self.has_work(job):
            return False
        write_atomic(self.folder / CONFIG, as_stored(self.config).encode())
        job.folder.mkdir(parents=True, exist_ok=True)
        LOG.info("%s: running", job.label)
        return True
