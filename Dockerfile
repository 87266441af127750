# The gateway: docker build -t anyrerank . && docker run -p 4000:4000 -v ./config.yaml:/config/config.yaml:ro anyrerank
FROM python:3.12-slim AS build
WORKDIR /src
COPY deploy/image deploy/image
RUN python -m venv /opt/anyrerank \
    && /opt/anyrerank/bin/pip install --no-cache-dir --require-hashes --requirement deploy/image/requirements.txt \
    && pip install --no-cache-dir --require-hashes --requirement deploy/image/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY integrations integrations
RUN python -m hatchling build --target wheel && /opt/anyrerank/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 anyrerank && mkdir /data && chown anyrerank /data
COPY --from=build /opt/anyrerank /opt/anyrerank
ENV PATH=/opt/anyrerank/bin:$PATH PYTHONUNBUFFERED=1 XDG_STATE_HOME=/data
USER 10001
VOLUME /data
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4000/health/readiness', timeout=2)"]
ENTRYPOINT ["anyrerank", "serve", "--host", "0.0.0.0", "--port", "4000"]
CMD ["--config", "/config/config.yaml"]
