"""Our own architectures, each a file: adding one needs that file and a configuration.

A file declares `ARCHITECTURES`, name -> `pipeline.config.architectures.Architecture`. The options
of an architecture are the keyword-only arguments of its network, with the types they have there.
"""
