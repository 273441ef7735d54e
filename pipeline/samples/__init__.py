"""A synthetic fund in the style of the Life Chances Fund: its register and its returns, made from a seed.

Everything is invented: no organisation, place or person here exists. `catalogue` holds what such contracts are like, `fund` draws a fund from it,
`returns` draws what happens in it, `register` writes down what was agreed, `workbooks` makes the files, and `folder` puts all of it into a folder.
"""

from pipeline.samples.folder import SampleSummary, write_sample

__all__ = ["SampleSummary", "write_sample"]
