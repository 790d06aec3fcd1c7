"""What a job is, how it starts, and the files that say it is done."""
