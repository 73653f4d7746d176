# A study in a container, on GPUs where the host has NVIDIA's container toolkit:
#   docker build -t pat-sweeps .
#   docker run --rm --gpus all --shm-size 8g -v "$PWD/runs:/work/runs" -v "$PWD/data:/work/data" pat-sweeps --preset digits
# Other commands: --entrypoint pat-train, pat-report, python.
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
WORKDIR /opt/pat-sweeps

# Dependencies first: a change of code does not fetch them again.
COPY pyproject.toml constraints.txt ./
RUN pip install uv -c constraints.txt \
    && uv pip install --system --no-cache --compile-bytecode -c constraints.txt -r pyproject.toml --extra detection

COPY README.md LICENSE ./
COPY pat pat
COPY sweeps sweeps
COPY analysis analysis
RUN uv pip install --system --no-cache --no-deps .

RUN useradd --create-home pat && mkdir -p /work/runs /work/data && chown -R pat /work
USER pat
WORKDIR /work
ENTRYPOINT ["pat-sweep"]
CMD ["--help"]
