"""Make the run that a version leaves to the later ones, as tests/test_stored_runs.py uses it.

    python tests/stored_runs/make.py CODE FOLDER

CODE is a checkout of the version. Runs its stages on a few small tiles with a tiny network, and
predicts the test images as pictures. FOLDER gets what a person would have afterwards: `data/`,
`folds/`, `runs/tiny/`, and beside them `found/instances.csv` with the ships. One fold keeps its
`last.pt`, as if it had been killed before its weights were written; the other states would only
take room.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SETTINGS = {
    "name": "tiny",
    "data.demo.tile_px": 96,
    "data.demo.train_tiles": 10,
    "data.demo.test_tiles": 3,
    "data.demo.empty_share": 0.0,
    "data.demo.max_ship_px": 60,
    "network": "{arch: unet_original, encoder: null, weights: none, options: {width: 4, depth: 1}}",
    "crops.batch_size": 4,
    "crops.per_epoch": 2400,
    "crops.empty_share": 0.0,
    "train.epochs": 2,
    "train.learning_rate": 0.01,
    "train.validation_images": 4,
    "finetune.validation_images": 4,
    "predict.tta": "flips",
    "machine.threads": 1,
    "machine.amp": "false",  # as every processor computes it
}


def main(code: Path, folder: Path) -> None:
    """Run the stages and keep what later versions need."""
    folder.mkdir(parents=True)
    config = code / "configs" / "demo.yaml"
    learnt = "acceptance" if "acceptance:" in config.read_text() else "candidate_selection"
    overrides = [f"{key}={value}" for key, value in SETTINGS.items()]
    overrides += [f"calibrate.{learnt}=null"]

    def python(module: str, *arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", module, *arguments]
        subprocess.run(command, cwd=folder, env=environment, check=True)

    for path in sorted((code / "pipeline").glob("s[0-6]_*.py")):
        python(f"pipeline.{path.stem}", "--config", str(config), *overrides)
    (pictures,) = folder.glob("data/demo-*/test_v2")
    (command,) = (code / "pipeline").rglob("predict_image*.py")
    module = ".".join(command.relative_to(code).with_suffix("").parts)
    python(module, str(pictures.relative_to(folder)), "--run", "tiny", "--out", "found")
    found = [*folder.glob("found/*.*.*"), *folder.glob("found/.*")]
    leftovers = [*found, *folder.glob("data/.*"), *folder.glob("folds/.*")]
    for leftover in (*leftovers, folder / "runs" / "tiny" / "locks", folder / "submissions"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    kept = folder / "runs" / "tiny" / "train" / "fold1" / "last.pt"
    for state in folder.rglob("last.pt"):
        if state != kept:
            state.unlink()
    (folder / "runs" / "tiny" / "run.log").unlink()


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:]))
