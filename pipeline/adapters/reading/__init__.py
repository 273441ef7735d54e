"""What runs in the contained child process that opens a delivery: nothing of the upload is opened anywhere else.

`isolation` cuts the process off and `child` is the way in; `containers` says what kind of file it is, `texts` what a CSV is written in; `delimited`
reads CSV, `workbooks` reads .xlsx, each with a second, independent reader beside the first (for sheets, `sheet_scan`), and `surroundings` looks at
what stands beside the tables. `canonical` holds the shape that both lead to, `tables` writes it, `cells` looks at every cell on the way.

Imports stay lean (the standard library, pyarrow, python-calamine), because a process is started for every delivery.
"""
