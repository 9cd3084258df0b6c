FROM apache/airflow:3.3.2

COPY --chown=airflow:root pyproject.toml README.md LICENSE /opt/flowstone/
COPY --chown=airflow:root flowstone_provider /opt/flowstone/flowstone_provider
COPY --chown=airflow:root dags /opt/airflow/dags
# Airflow itself stays at the version of the image.
RUN pip install --no-cache-dir "apache-airflow==${AIRFLOW_VERSION}" "/opt/flowstone[all]"
