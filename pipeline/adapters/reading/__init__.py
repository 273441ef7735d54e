"""What runs in the contained child process that opens a delivery: nothing of the upload is opened anywhere else.

`child` is the way in; `containers` says what kind of file it is; `delimited` reads CSV, `workbooks` reads .xlsx, each with a second, independent
reader beside the first; `canonical` holds the shape that both lead to. Imports stay lean (the standard library, pyarrow, python-calamine), because
a process is started for every delivery.
"""
