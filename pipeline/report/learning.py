"""Panels of a page that show training: curves of all folds through both stages, and time."""

import pandas as pd

from pipeline.errors import ArtifactError
from pipeline.metrics.registry import METRICS
from pipeline.report import charts
from pipeline.report.curves import EPOCH, Curve, curves
from pipeline.report.figures import Drawing
from pipeline.report.panels import Panel
from pipeline.report.records import Records

STAGES = ("train", "finetune")
PHASES = {
    "data_wait_s": "waiting for data",
    "warmup_s": "warming up",
    "step_s": "training steps",
    "save_s": "saving",
    "val_s": "validation",
}
"""Columns of a history that time the parts of an epoch."""


def learning(key: str, title: str, records: Records) -> Panel:
    """Draw loss, scores, learning rate and time of each epoch, a line per fold."""
    histories = {stage: records.folds(stage, "history.csv") for stage in STAGES}
    if not any(histories.values()):
        raise ArtifactError(
            f"{records.folder}: no fold of the stages {', '.join(STAGES)} has a history.csv. Run "
            "the stage `train` first."
        )
    every = [history for folds in histories.values() for history in folds.values()]
    validated = {
        column: metric.label
        for metric in METRICS.values()
        if all((column := f"val_{metric.key}") in history for history in every)
    }
    lasted = max((len(h) for h in histories["train"].values()), default=0)
    drawings = [
        *(_loss(stage, folds) for stage, folds in histories.items() if folds),
        *(
            _through(histories, lasted, f"{name} of validation images", name, column)
            for column, name in validated.items()
        ),
        _through(histories, lasted, "Learning rate", "learning rate", "learning_rate"),
        _phases(histories),
        _time_of_stages(records),
    ]
    lead = (
        "One line per fold. The dotted line is where the fine-tuning begins. The weights used are "
        "those of the end, never of a “best” epoch."
    )
    return Panel(key, title, lead, drawings)


def _loss(stage: str, folds: dict[int, pd.DataFrame]) -> Drawing:
    lines = []
    for fold, history in folds.items():
        lines.append(Curve(f"fold {fold}", history.epoch, history.loss, fold))
        lines.append(Curve("", history.epoch, history.val_loss, fold, dashed=True))
    said = "; ".join(
        f"fold {fold}: {h.loss.iloc[0]:.3f} to {h.loss.iloc[-1]:.3f}" for fold, h in folds.items()
    )
    y = "loss; dashed: of validation images"
    return curves(f"Loss, {stage}", lines, EPOCH, y, said=said)


def _through(
    histories: dict[str, dict[int, pd.DataFrame]], lasted: int, title: str, y: str, column: str
) -> Drawing:
    """Draw a column of the history through both stages, one after the other."""
    lines, ends = [], []
    for fold in sorted(set().union(*histories.values())):
        parts = [(s, histories[s][fold]) for s in STAGES if fold in histories[s]]
        x = [h.epoch + (lasted if s == "finetune" else 0) for s, h in parts]
        values = pd.concat([h[column] for _, h in parts])
        lines.append(Curve(f"fold {fold}", pd.concat(x), values, fold))
        ends.append(f"fold {fold} ends at {values.iloc[-1]:.3g}")
    border = [lasted + 0.5] if histories["finetune"] and lasted else []
    return curves(title, lines, EPOCH, y, said="; ".join(ends), at=border)


def _phases(histories: dict[str, dict[int, pd.DataFrame]]) -> Drawing:
    """Cut the mean epoch of each stage and fold into the phases that the histories time."""
    means = {
        f"{stage} {fold}": history.mean(numeric_only=True)
        for stage, folds in histories.items()
        for fold, history in folds.items()
    }
    phases = {
        name: [mean.get(column, 0.0) for mean in means.values()]
        for column, name in PHASES.items()
        if any(column in mean for mean in means.values())
    }
    x = "seconds, mean over epochs"
    return charts.shares("Time of an epoch, by stage and fold", list(means), phases, x)


def _time_of_stages(records: Records) -> Drawing:
    """Draw what each stage took, the jobs of all folds added up."""
    stages: dict[str, float] = {}
    for manifest in records.manifests():
        stage = manifest["stage"].partition("/")[0]
        stages[stage] = stages.get(stage, 0.0) + manifest["wall_s"]
    ordered = sorted(stages, key=lambda stage: -stages[stage])
    minutes = {"": [stages[stage] / 60 for stage in ordered]}
    return charts.shares(
        "Time by stage", ordered, minutes, "minutes, the jobs of all folds added up"
    )
