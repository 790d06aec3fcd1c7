"""What a person runs beside the stages; each module here is a command line of its own."""
