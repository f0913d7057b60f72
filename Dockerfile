# An image for Docker and Podman, with what remdm.def has: `docker build --tag remdm .`, then
# `docker run --rm --volume "$PWD:/work" remdm smoke`; on GPUs with `--gpus all`.
FROM python:3.12-slim

WORKDIR /opt/remdm
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY remdm remdm
COPY configs configs
RUN pip install --no-cache-dir --require-hashes -r requirements.lock \
    && pip install --no-cache-dir --no-deps -e .

# Results go to the folder that is mounted here.
WORKDIR /work
ENTRYPOINT ["remdm"]
