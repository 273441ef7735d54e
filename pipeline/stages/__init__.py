"""What is done to data, pure, in the order in which it is done.

Intake (a delivery gets its name) -> validation (findings become a report and a verdict) -> acceptance (rows become facts) -> tabulation (facts become
tables) -> protection (tables become safe) -> audit (somebody tries to break them) -> publication (tables become files).

Nothing here opens a file, a database, a network or a clock.
"""
