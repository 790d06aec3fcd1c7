"""A run's records without the run: as many images as one likes, in the pipeline's own formats."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml

from pipeline.config.competitions import competitions
from pipeline.config.load import load_config
from pipeline.data.folds import balance_table
from pipeline.jobs.artifacts import sha256_file
from pipeline.masks.rle import decode_labels, encode_mask
from pipeline.masks.sizes import Sizes
from pipeline.metrics.matching import match_objects
from pipeline.metrics.registry import find_metric
from pipeline.metrics.reliability import reliability
from pipeline.metrics.summaries import summarise

ROOT = Path(__file__).parents[2]
AIRBUS = competitions()["airbus"]


def rectangle(top, left, height, width, side):
    """Run-length text of an upright rectangle in an image of side x side px."""
    starts = (left + np.arange(width)) * side + top + 1
    return " ".join(f"{start} {height}" for start in starts)


def tables(count, side, random):
    """Truth and prediction of `count` images: found, missed, merged, split, false alarms, empty."""
    truth, predicted = [], []
    unit = min(side // 8, 14)  # as large as the competition's median ship
    for number in range(count):
        image_id = f"{number:09x}.jpg"
        kind = number % 8
        true, found = [], []
        if kind in {0, 1, 2, 3}:
            true.append((unit, unit, unit, 2 * unit))
        if kind == 0:  # found, and the looser the larger the number
            found.append((unit, unit, unit, 2 * unit - int(random.integers(0, unit))))
        if kind == 2:  # merged
            true.append((2 * unit, unit, unit, 2 * unit))
            found.append((unit, unit, 2 * unit, 2 * unit))
        if kind == 3:  # split
            found += [(unit, unit, unit, unit - 1), (unit, 2 * unit, unit, unit)]
        if kind == 4 and random.random() < 0.3:
            found.append((5 * unit, 5 * unit, unit, unit))
        truth += [(image_id, rectangle(*ship, side)) for ship in true] or [(image_id, "")]
        predicted += [(image_id, rectangle(*ship, side)) for ship in found] or [(image_id, "")]
    columns = ["ImageId", "EncodedPixels"]
    return pd.DataFrame(truth, columns=columns), pd.DataFrame(predicted, columns=columns)


def of_task(competition, count, side, random):
    """`tables` of a competition: of objects a class has what falls on its turn, of masks all."""
    classes, sides = competition.classes, ([], [])
    for place, class_id in enumerate(classes):
        for side_of, objects in zip(sides, tables(count, side, random), strict=True):
            turn = objects.ImageId.factorize()[0] // 8 % len(classes) == place
            mine = objects.assign(EncodedPixels=objects.EncodedPixels.where(turn, ""))
            rows = mine.drop_duplicates() if competition.objects else united(objects, side)
            side_of.append(rows.assign(ClassId=class_id))
    columns = ["ImageId", *["ClassId"] * (len(classes) > 1), "EncodedPixels"]
    return [
        pd.concat(each).sort_values(["ImageId", "ClassId"], kind="stable", ignore_index=True)[
            columns
        ]
        for each in sides
    ]


def united(table, side):
    groups = table[table.EncodedPixels != ""].groupby("ImageId").EncodedPixels
    texts = {i: encode_mask((decode_labels([*t], side, side) > 0).astype("u1")) for i, t in groups}
    rows = [(image_id, texts.get(image_id, "")) for image_id in table.ImageId.unique()]
    return pd.DataFrame(rows, columns=table.columns)


def summary(truth, predicted, frame, side, metric):
    matches = match_objects(truth, predicted, Sizes((side, side)), metric)
    of_layer = frame.set_index("ImageId").loc[matches.images.ImageId]
    return summarise(matches, of_layer.fold.to_numpy(), of_layer.group.to_numpy())


def write_run(
    root,
    name="simulated",
    *,
    count=64,
    side=96,
    folds=2,
    seed=0,
    pictures=None,
    competition=AIRBUS,
):
    """Write `root/runs/<name>` and its images; return the run's folder.

    Args:
        root: A folder to play the project's in.
        name: Of the run.
        count: Images.
        side: Of each mask, px; images are twice as large where masks have a size of their own.
        folds: Number of folds.
        seed: Of the predictions; the truth is always the same.
        pictures: Images to draw, the others are links to the first; None for all.
        competition: What the run is about.
    """
    random = np.random.default_rng(seed)
    truth, predicted = of_task(competition, count, side, random)
    metric, classes = find_metric(competition.metric), competition.classes
    run = root / "runs" / name
    ids = sorted(set(truth.ImageId))
    frame = pd.DataFrame({"ImageId": ids, "group": range(count), "stratum": "any"})
    frame["fold"] = np.arange(count) // 8 % folds
    image_side = side * (1 if competition.mask_shape is None else 2)
    _json(run / "data" / "catalog.json", _catalog(image_side))
    (run / "split").mkdir()
    frame.to_csv(run / "split" / "folds.csv", index=False)
    truth.to_csv(run / "data" / "instances.csv", index=False)
    if competition.mask_shape is not None:
        truth.to_csv(run / "data" / "masks.csv", index=False)
        truth.assign(EncodedPixels="").to_csv(run / "data" / "instances.csv", index=False)
    scores = summary(truth, predicted, frame, side, metric)
    if len(classes) > 1:
        scores["classes"] = {
            name: summary(*(t[t.ClassId == name] for t in (truth, predicted)), frame, side, metric)
            for name in classes
        }
    scores[f"{metric.key}_in_sample"] = scores[metric.key] + 0.01
    by_threshold = [{"threshold": level, metric.key: level / 255} for level in (100, 128)]
    for each in scores.get("classes", {"": scores}).values():
        each["by_threshold"] = by_threshold
    _json(run / "calibrate" / "scores.json", scores)
    rule = {"separation": {"threshold": 128}, "min_area_px": 8, "share": 1 / 3}
    tried = [{"rule": "image filter", "gain": 0.02, "standard_error": 0.005, "kept": True}]
    cross_fitted = {str(fold): rule for fold in range(folds)}
    rules = {"rules": rule, "cross_fitted": cross_fitted, "tried": tried}
    rules = {"classes": dict.fromkeys(classes, rules)} if len(classes) > 1 else rules
    _json(run / "calibrate" / "rules.json", rules)
    known = {"objects": 60, "right": 40}
    known["reliability"] = reliability(np.linspace(0, 1, 60), np.arange(60) >= 20)
    _json(run / "calibrate" / "confidence.json", dict.fromkeys(classes, known))
    predicted.to_csv(run / "calibrate" / "oof_instances.csv", index=False)
    images = f"data.root={root / 'data' / name}"
    config = load_config(ROOT / "configs" / "demo.yaml", [f"name={name}", f"seed={seed}", images])
    (run / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    counts = {"train_images": count, "test_images": 0, "ships": 9, "left_out": 0}
    _finish(run / "data", "data", counts)
    balance = json.loads(
        balance_table(frame, truth.drop(columns="ClassId", errors="ignore")).to_json(
            orient="records"
        )
    )
    _finish(run / "split", "split", {"balance": balance})
    _finish(run / "submit", "submit", {f"test_{metric.key}": 0.7})
    _finish(run / "calibrate", "calibrate", {})
    for fold in range(folds):
        _write_fold(run, fold, frame.ImageId[frame.fold == fold], random, metric.key)
    drawn = count if pictures is None else pictures
    draw = {"sides": (image_side, side), "classes": len(classes), "pictures": drawn}
    _draw(root / "data" / name, run, frame, random, **draw)
    return run


def _catalog(side):
    return {
        "height": side,
        "width": side,
        "test_ids": [],
        "unusable_test_ids": [],
    }


def _json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _finish(folder, stage, metrics):
    """Write the manifest of what lies in a folder."""
    outputs = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in folder.glob("*")
    }
    known = {"stage": stage, "fold": None, "seed": 0, "config": {}, "inputs": {}, "files": {}}
    known |= {"outputs": outputs, "metrics": metrics, "wall_s": 60.0, "device": "cpu"}
    _json(folder / "manifest.json", known)


def _write_fold(run, fold, ids, random, key):
    for stage in ("train", "finetune"):
        folder = run / stage / f"fold{fold}"
        folder.mkdir(parents=True)
        epochs = np.arange(1, 6)
        history = {"epoch": epochs, "loss": 1 / epochs, "val_loss": 1.2 / epochs}
        history |= {"val_dice": 1 - 0.5 / epochs, "learning_rate": 1e-3 / epochs}
        history[f"val_{key}"] = 1 - 0.6 / epochs
        history |= {"data_wait_s": 1.0, "step_s": 9.0, "val_s": 0.5}
        pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
        _finish(folder, stage, {})
    folder = run / "predict" / "oof" / f"fold{fold}"
    folder.mkdir(parents=True)
    sure = random.random(len(ids)).round(4)
    index = {"ImageId": ids, "max_probability": sure, "mean_probability": 0.0, "bytes": 0}
    pd.DataFrame(index).to_csv(folder / "index.csv", index=False)
    _finish(folder, "predict/oof", {})


def _draw(data, run, frame, random, *, sides, classes, pictures):
    """Write `pictures` noisy images, each with its map; the other images are links to these."""
    images = data / "train_v2"
    images.mkdir(parents=True)
    for number, (image_id, fold) in enumerate(zip(frame.ImageId, frame.fold, strict=True)):
        map_path = run / "predict" / "oof" / f"fold{fold}" / "maps" / f"{image_id[:-4]}.png"
        map_path.parent.mkdir(exist_ok=True)
        paths = images / image_id, map_path
        if number == 0:
            originals = [path.resolve() for path in paths]
        if number < pictures:
            noise = random.integers(0, 256, (sides[0], sides[0], 3), dtype=np.uint8)
            cv2.imwrite(str(paths[0]), cv2.GaussianBlur(noise, (0, 0), 1.5) // 2)
            maps = cv2.GaussianBlur(noise[: sides[1], : sides[1], 0], (0, 0), 6)
            cv2.imwrite(str(paths[1]), np.concatenate([maps] * classes))
        else:
            for path, original in zip(paths, originals, strict=True):
                path.symlink_to(original)
