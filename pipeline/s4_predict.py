"""Stage 4: probability maps of whole images, with test-time augmentation.

Reads `finetune/fold<k>/final.pt` of all folds. Writes `runs/<name>/predict/oof/fold<k>/`, the
training images of each fold by the network that never saw their scenes, and
`runs/<name>/predict/test/`, the test images by the mean over folds: index.csv and one 8-bit image
per map that rises above the floor.
"""

from pipeline.command import run_stage
from pipeline.run import Run


def stage(run: Run) -> None:
    """Predict the out-of-fold images, then the test images."""
    folds = range(run.config.folds.count)
    trained = [run.result("finetune", fold=fold) for fold in folds]
    sections = ("network", "predict")
    for fold in folds:
        job = run.job("predict/oof", fold=fold, sections=sections, inputs=[trained[fold]])
        if run.begin(job):
            from pipeline.inference.predict import predict_held_out

            predict_held_out(run, job, fold, trained[fold])
    job = run.job("predict/test", sections=sections, inputs=trained)
    if run.begin(job):
        from pipeline.inference.predict import predict_test

        predict_test(run, job, trained)


if __name__ == "__main__":
    run_stage(stage, description=__doc__)
