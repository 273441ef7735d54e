"""Open Outcomes: publish what public money bought in people's lives as versioned open data.

The house: `domain` holds what is true, `stages` what is done to data, `adapters` one technology each, `application` the verbs in their order;
`bootstrap` puts them together. Nothing in this package imports Airflow: `dags/` does, and calls the verbs.
"""

__version__ = "0.1.0"
