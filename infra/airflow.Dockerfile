# The pipeline with Airflow, from the hashed lock file. Build from the root of the project.
FROM python:3.11-slim-bookworm

RUN useradd --create-home --uid 10001 outcomes
WORKDIR /opt/openoutcomes
COPY requirements.lock ./
RUN python -m pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
COPY dags dags
COPY schemas schemas
COPY expectations expectations
RUN python -m pip install --no-cache-dir --no-deps --no-build-isolation . && mkdir -p /data && chown outcomes /data
USER outcomes
ENV AIRFLOW_HOME=/home/outcomes/airflow PYTHONUNBUFFERED=1
CMD ["outcomes", "--help"]
