-- Airflow keeps its own records in a database of its own: losing it loses nothing of the log.
CREATE DATABASE airflow OWNER outcomes;
