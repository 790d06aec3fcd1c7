"""Files down, a submission up, its score back, a notebook up, through the official client.

`download` fills a data folder (with `archive`), `submit` uploads a file and waits for its score,
`ledger` remembers every submission, `publish` sends a dataset and a notebook. They speak to Kaggle
through `client`, which runs the unmodified `kaggle` package in a process of its own (`worker`, with
`calls`, `publish_calls` and `transfer`), so that every call ends at a deadline, with an answer or
with a message of `failures`.
"""
