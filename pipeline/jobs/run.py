"""The run folder `runs/<name>/`, its configuration and its jobs.

Which work is skipped is decided by the jobs' manifests (`jobs.job`) and by nothing else.
"""

import json
import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline.config.code_file import CodeFile
from pipeline.config.earlier import without_places
from pipeline.config.load import as_stored, stored_values
from pipeline.config.schema import Config
from pipeline.errors import ArtifactError, ConfigError
from pipeline.jobs.artifacts import write_atomic
from pipeline.jobs.job import MANIFEST, Job, as_now, differences
from pipeline.jobs.lock import Lock

if TYPE_CHECKING:
    from pipeline.jobs.parts import Part

LOG = logging.getLogger(__name__)
CONFIG = "config.yaml"


class Run:
    """The folder of one run.

    Args:
        config: The resolved configuration; `config.name` names the folder.
        restart: Jobs that are asked for are started over: their folders are removed.

    Attributes:
        planned: Folders of jobs that are to be finished before others of this run read them: until
            then those others are known by folder and inputs only, enough to claim or to wait.
    """

    def __init__(self, config: Config, *, restart: bool) -> None:
        self.config = config
        self.restart = restart
        self._started_over: dict[Path, Job] = {}
        self._claims: dict[Path, Lock] = {}
        self._read: dict[Path, Lock] = {}
        self._config_before: bytes | None = None
        self.planned: set[Path] = set()
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
        replaced = self.folder / "replaced" / str(folder.relative_to(self.folder)).replace("/", "-")
        if any(read.folder in self.planned for read in inputs):
            return Job(stage, fold, folder, {}, inputs=inputs, replaced=replaced)
        config = self._sections({*sections})
        read = {job.folder: job.identities for job in inputs}
        ours = [each for each in read if each.is_relative_to(self.folder)]
        of_other_runs = {str(each): known[0] for each, known in read.items() if each not in ours}
        wanted = {
            "stage": stage,
            "fold": fold,
            "seed": self.config.seed,
            "config": config,
            "inputs": {str(each.relative_to(self.folder)): read[each][0] for each in ours},
            "files": (files or {}) | of_other_runs,
        }
        aliases = {each: now for now, *earlier in read.values() for each in earlier}
        return Job(stage, fold, folder, wanted, aliases, inputs, replaced)

    def _sections(self, names: set[str]) -> dict[str, Any]:
        """Return sections of the configuration as jobs stand for them."""
        sections = without_places(Config, self.config.model_dump(mode="json", include=names))
        file = CodeFile.named(self.config.network.arch)
        if file is not None and "network" in sections:
            sections["network"]["arch"] = file.content
        return sections

    def result(self, stage: str, *, fold: int | None = None) -> Job:
        """Return a finished job to read from, after checking that it belongs to this run.

        Raises:
            ArtifactError: It is not finished, or it or what it was made from was made for another
                configuration.
        """
        folder = self._folder_of(stage, fold)
        job = Job(stage, fold, folder, {})
        if folder in self.planned:
            return job
        manifest = job.manifest
        now = self._sections({*manifest["config"], "seed"})
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
        """Tell whether the job has work to do; with `restart`, or planned inputs, it has, once.

        Raises:
            ArtifactError: It was finished for something else.
        """
        if self.restart and job.folder not in self._started_over:
            return True
        if any(read.folder in self.planned for read in job.inputs):
            return True
        done = job.is_done()
        if done:
            self._store({*job.wanted["config"]})  # its files may lie elsewhere now
        return not done

    def start_over(self, job: Job) -> None:
        """With `restart`, set aside what the job did before, until it is finished anew.

        Raises:
            ArtifactError: Another process works on it, or reads it.
        """
        if not self.restart or job.folder in self._started_over:
            return
        if job.folder.is_dir():
            self.claim(job)
            with self._lock(job).take():
                LOG.info("%s: starting over", job.label)
                if not (job.folder / MANIFEST).is_file():
                    shutil.rmtree(job.folder)
                else:
                    shutil.rmtree(job.replaced, ignore_errors=True)
                    job.replaced.parent.mkdir(exist_ok=True)
                    job.folder.rename(job.replaced)
                    if self._config_before is None:
                        self._config_before = (self.folder / CONFIG).read_bytes()
        self._started_over[job.folder] = job

    def bring_back(self) -> None:
        """Undo `start_over` where nothing came of it: what was refused changes nothing."""
        for job in self._started_over.values():
            if job.folder.is_dir() and any(job.folder.iterdir()):
                self._config_before = None  # work has begun that the configuration now describes
            elif job.replaced.is_dir():
                shutil.rmtree(job.folder, ignore_errors=True)
                job.replaced.rename(job.folder)
        if self._config_before is not None:
            write_atomic(self.folder / CONFIG, self._config_before)

    def claim(self, job: Job, *, shared: bool = False) -> None:
        """Keep a job, until this process ends, to it and those that it starts.

        Of two that set out to work on several jobs one is refused then, and not both in the middle.

        Args:
            job: Which.
            shared: Others may claim shards of it, too.

        Raises:
            ArtifactError: Another process has claimed it.
        """
        if job.folder not in self._claims:
            self._claims[job.folder] = self._lock(job, " claim").take(shared=shared)

    def begin(self, job: Job, *, part: "Part | None" = None) -> bool:
        """Tell whether the job has work to do; then lock it, and store what the work stands for.

        Args:
            job: Until it is finished, or this process ends, no other process can begin it.
            part: The part of it to work on: shards of one job are worked on at the same time.

        Raises:
            ArtifactError: It, or the same stage for another fold, was finished for something else;
                or another process works on it.
        """
        if not self.has_work(job):
            return False
        self.start_over(job)
        is_shard = part is not None and part.shards > 1
        job.locks.append(self._lock(job).take(shared=is_shard))
        if is_shard:
            job.locks.append(self._lock(job, f" shard {part}").take())
        if job.is_done():  # by who held the lock before
            job.release()
            return False
        self._refuse_unlike_folds(job)
        for read in job.inputs:  # which nobody may start over meanwhile
            if read.folder.is_relative_to(self.folder) and read.folder not in self._read:
                self._read[read.folder] = self._lock(read).take(shared=True)
        self._store({*job.wanted["config"], "name", "seed", "kaggle", "machine"})
        job.folder.mkdir(parents=True, exist_ok=True)
        LOG.info("%s: running", job.label)
        return True

    def _lock(self, job: Job, what: str = "") -> Lock:
        # Not in the job's folder, which a restart removes.
        name = f"{job.label}{what}".translate(str.maketrans(" /:", "-_-"))
        return Lock(self.folder / "locks" / name, f"{self.folder}: {job.label}")

    def _refuse_unlike_folds(self, job: Job) -> None:
        """Refuse to mix folds of two configurations, but where the user starts folds over."""
        others = [] if job.fold is None or self.restart else job.folder.parent.glob("fold*")
        for folder in others:
            if (folder / MANIFEST).is_file():
                config = job.wanted["config"]
                then = Job(job.stage, None, folder, {}).manifest["config"]
                found = differences(config, as_now(then, {*then, *config}))
                job.refuse(folder, "finished", found)

    def _store(self, sections: set[str]) -> None:
        """Store these sections of the configuration; others stay as their work began."""
        path, now = self.folder / CONFIG, self.config.model_dump(mode="json")
        config = self.config
        with suppress(ConfigError, ValidationError):  # none yet, damaged, or none without the rest
            stored = stored_values(path)
            changed = {name: now[name] for name in sections if stored[name] != now[name]}
            if not changed:
                return
            config = Config.model_validate_json(json.dumps(stored | changed), strict=True)
        write_atomic(path, as_stored(config).encode())
