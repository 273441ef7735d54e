"""One file per technology; each fulfils a port of `pipeline.ports`. Nothing here knows the order of the verbs."""
