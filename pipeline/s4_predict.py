"""Stage 4: probability maps of whole images, with test-time augmentation.

Reads `finetune/fold<k>/final.pt` of all folds. Writes `runs/<name>/predict/oof/fold<k>/`, the
training images of each fold by the network that never saw their scenes, and
`runs/<name>/predict/test/`, the test images by the mean over folds: index.csv and one 8-bit image
per map that rises above the floor. With `predict.ensemble` both are the mean of other runs' maps.
"""

from pipeline.command import run_stage
from pipeline.run import Run


def stage(run: Run, parts: list[str]) -> None:
    """Predict each part: the images of a fold, or the test images."""
    if run.config.predict.ensemble is not None:
        from pipeline.inference.ensemble import predict_ensemble

        predict_ensemble(run, run.config.predict.ensemble, parts)
        return
    sections = ("targets", "network", "image_head", "predict")
    for part in parts:
        if part == "test":
            trained = [run.result("finetune", fold=k) for k in range(run.config.folds.count)]
            job = run.job("predict/test", sections=sections, inputs=trained)
            if run.begin(job):
                from pipeline.inference.predict import predict_test

                predict_test(run, job, trained)
            continue
        fold = int(part)
        own = run.result("finetune", fold=fold)
        job = run.job("predict/oof", fold=fold, sections=sections, inputs=[own])
        if run.begin(job):
            from pipeline.inference.predict import predict_held_out

            predict_held_out(run, job, fold, own)


if __name__ == "__main__":
    run_stage(stage, description=__doc__, per_fold=True, also=("test",))
