"""A segmentation competition from images to submission.

The way of the data:

s0_data       data.root, or the rendered demo   -> checked images and their true ships
s1_split      which tiles share ground          -> folds/<data>.csv, no scene on two sides
s2_train      crops, BCE - ln Dice, EMA         -> a network per fold
s3_finetune   the same loop, Lovász hinge       -> the fold's final network
s4_predict    whole images, eight symmetries    -> probability maps, out-of-fold and test
s5_calibrate  out-of-fold maps and the metric   -> rules, and the honest F2
s6_submit     test maps and rules               -> submissions/<run>-<hash>.csv
s7_report     all that was recorded             -> runs/<name>/report/index.html

Afterwards, where asked for:

kaggle_package   a finished run            -> wheels, weights and a notebook for Kaggle
predict_package  that package, test images -> the same submission, without internet
compare          two or more runs          -> a page of what differs, and where one wins
predict_image    pictures of your own      -> overlays, instances, GeoJSON

Stages only wire; the folders below hold the knowledge, and never import a stage. `ships` is what a
ship is; `separation`, `selection` and `calibration` are how maps become ships, and how well.
"""
