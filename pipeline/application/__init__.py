"""The verbs: what the system can be told to do, one function each, in the order in which a return becomes open data.

    register.load_register                                              the register enters the log
    submissions.receive -> validate -> accept | reject, withdraw        one return
    releases.draft -> build -> audit -> approve | return_ -> publish    one release; then verify, rebuild, withdraw

Each verb loads state from the log, decides in `domain`, stores what the decision names, and ends in one append. Each can be run twice, by two
workers at once, and killed anywhere: identity comes from content, and every append states the stream version it expects.
"""
