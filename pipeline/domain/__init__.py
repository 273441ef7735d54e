"""What is true of funds, submissions and releases: events, states, and the decisions that lead from one to the next.

Nothing here reads a file, a clock, a frame or the environment.
"""
