# A server of models that learn: docker build -t quickstudy . && docker run -p 127.0.0.1:8000:8000 -v models:/models quickstudy --tokens …
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN python -m venv /opt/quickstudy \
    && /opt/quickstudy/bin/pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
       "torch==$(sed -n 's/^torch==\([^+ ;]*\).*/\1/p' constraints.txt)+cpu" \
    && /opt/quickstudy/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home quickstudy && install -d -o quickstudy -m 700 /models
COPY --from=build /opt/quickstudy /opt/quickstudy
ENV PATH=/opt/quickstudy/bin:$PATH PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 XDG_CACHE_HOME=/tmp
USER quickstudy
WORKDIR /models
VOLUME /models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=4)"]
ENTRYPOINT ["quickstudy", "serve", "--host", "0.0.0.0", "--store", "/models"]
