"""What many tests share: the real assets, the command line as a process, and artifacts to read."""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgekit import artifact as artifacts
from edgekit import golden, graph, quantize, recipe
from edgekit.artifact import Artifact, Calibration, Card, Golden, WeightsOrigin
from edgekit.images import normalise
from edgekit.quantize import head
from edgekit.spec import InputSpec, square

ROOT = Path(__file__).parents[1]
EMULATION = ROOT / "build" / "emulated_pi"
COLOURS = ("red", "green", "blue", "grey")
COLOUR_IDS = ("n00000001", "n00000002", "n00000003", "n00000004")


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with real weights and images."""
    folder = os.environ.get("EDGEKIT_ASSETS")
    if not folder:
        reason = "EDGEKIT_ASSETS is not set, so there are no real weights and images"
        (pytest.fail if os.environ.get("EDGEKIT_REQUIRE_ASSETS") else pytest.skip)(reason)
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def emulation() -> Path:
    """The emulated Arm root; made where that is possible, else the test is skipped with the reason."""
    if platform.machine() != "x86_64" or os.geteuid() or not all(map(shutil.which, ("apt-get", "gcc", "pip"))):
        pytest.skip("the emulated Arm root is made with apt, gcc and pip by root on an x86-64 Debian machine")
    if not (EMULATION / "insn_count.so").exists():
        command = ["bash", ROOT / "benchmarks" / "emulated_pi" / "setup.sh", EMULATION]
        made = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if made.returncode:
            reason = (made.stderr.strip().splitlines() or ["no message"])[-1]
            (pytest.fail if os.environ.get("EDGEKIT_REQUIRE_ASSETS") else pytest.skip)(
                f"no emulated Arm root: {reason}"
            )
    return EMULATION


@pytest.fixture(scope="session")
def edgekit_environment() -> dict[str, str]:
    """The environment of a child process: ours, with the path of the assets made absolute."""
    environment = dict(os.environ, COLUMNS="160")
    if environment.get("EDGEKIT_ASSETS"):
        environment["EDGEKIT_ASSETS"] = str(Path(environment["EDGEKIT_ASSETS"]).resolve())
    return environment


@pytest.fixture(scope="session")
def run_edgekit(edgekit_environment):
    """`run_edgekit(*arguments, env=None, **options)`: the finished process of one command line, output as text."""

    def run(*arguments: object, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edgekit", *map(str, arguments)]
        environment = edgekit_environment | (env or {})
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **options)

    return run


@pytest.fixture(scope="session")
def colour_input() -> InputSpec:
    """32 x 32 RGB on 0..1; the division by a power of two is exact."""
    return square(32, std=(256.0,) * 3)


@pytest.fixture(scope="session")
def colour_kernel() -> np.ndarray:
    """(classes, 3): a class's logit is eight times its colour on 0..1, grey's that of all three weighted 1, 1 and 2."""
    return 8 * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.25, 0.25, 0.5]], np.float32)


@pytest.fixture(scope="session")
def colour_network(colour_kernel):
    """`colour_network(kernel=colour_kernel)`: a float .tflite whose answer is known without running it.

    The mean of every pixel times the kernel, where that is positive, and the softmax of it. Made without TensorFlow.
    """

    def make(kernel: np.ndarray = colour_kernel) -> bytes:
        classes = len(kernel)
        tensors = [
            graph.Tensor("image", (1, 32, 32, 3), "float32"),
            graph.Tensor("kernel", (classes, 1, 1, 3), "float32", kernel.reshape(classes, 1, 1, 3).astype(np.float32)),
            graph.Tensor("bias", (classes,), "float32", np.zeros(classes, np.float32)),
            graph.Tensor("map", (1, 32, 32, classes), "float32"),
            graph.Tensor("positive", (1, 32, 32, classes), "float32"),
            graph.Tensor("axes", (2,), "int32", np.array([1, 2], np.int32)),
            graph.Tensor("logits", (1, classes), "float32"),
            graph.Tensor("probabilities", (1, classes), "float32"),
        ]
        operators = [
            _operator("CONV_2D", [0, 1, 2], [3], "Conv2DOptions", strideW=1, strideH=1),
            graph.Operator("RELU", [3], [4]),
            _operator("MEAN", [4, 5], [6], "ReducerOptions"),
            _operator("SOFTMAX", [6], [7], "SoftmaxOptions", beta=1.0),
        ]
        return graph.dump(graph.Graph(tensors, operators, inputs=[0], outputs=[7]))

    return make


def _operator(kind: str, inputs: list[int], outputs: list[int], options: str, **values: object) -> graph.Operator:
    made = graph.new_options(options, **values)
    return graph.Operator(kind, inputs, outputs, made, graph.constant("BuiltinOptions", options))


@pytest.fixture(scope="session")
def write_colours(colour_network, colour_kernel, colour_input):
    """`write_colours(folder, recipe name, kernel, labels)`: the colour network as an artifact in a folder."""

    def write(
        folder: Path, name: str | recipe.Recipe, kernel: np.ndarray = colour_kernel, labels: tuple[str, ...] = COLOURS
    ) -> Artifact:
        chosen = recipe.find(name) if isinstance(name, str) else name
        corners = [np.full((32, 32, 3), colour, np.uint8) for colour in itertools.product((0, 255), repeat=3)]
        samples = [normalise(pixels, colour_input) for pixels in corners]
        model = quantize.quantize(colour_network(kernel), chosen, samples).model
        card = Card(
            model="colours",
            family="colours",
            classes=len(kernel),
            input=colour_input,
            recipe=chosen,
            weights=WeightsOrigin("by hand"),
            calibration=Calibration(("0" * 8,), "corners of the colour cube") if chosen.needs_calibration else None,
            output=head.output_kind(graph.load(model)),
        )
        miniature = golden.noise()
        known = Golden(miniature.tobytes(), golden.answer(model, colour_input, miniature))
        return artifacts.write(
            folder / f"colours-32-{chosen.name}.tflite", model, card, labels, COLOUR_IDS[: len(labels)], known
        )

    return write


@pytest.fixture(scope="session")
def tiny_float(write_colours, tmp_path_factory) -> Artifact:
    """The colour network, float32: a few kilobytes with card, labels and golden vector."""
    return write_colours(tmp_path_factory.mktemp("tiny"), "float32")


@pytest.fixture(scope="session")
def tiny(write_colours, tmp_path_factory) -> Artifact:
    """The colour network, int8 throughout and operator by operator as the float one."""
    plain = recipe.Recipe("int8", weights="int8", activations="int8", io="int8")
    return write_colours(tmp_path_factory.mktemp("tiny"), plain)


@pytest.fixture(scope="session")
def colour_images(tmp_path_factory) -> Path:
    """40 images, 10 of each colour, in class folders; each has a shade of its own and is 40 x 50 pixels."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("colours")
    for number, name in enumerate(COLOURS):
        (folder / name).mkdir()
        for shade in range(10):
            value = 120 + 10 * shade
            colour = [value if name == "grey" or channel == number else 0 for channel in range(3)]
            Image.new("RGB", (50, 40), tuple(colour)).save(folder / name / f"{shade}.png")
    return folder


@pytest.fixture(scope="session")
def exported(assets, run_edgekit, tmp_path_factory) -> dict[str, Path]:
    """SqueezeNet v1.1 with its real weights, exported by the command line: paths by recipe name."""
    folder = tmp_path_factory.mktemp("exported")
    done = run_edgekit("export", "squeezenet_v1_1", "--recipe", "float32", "--recipe", "int8", "-o", folder)
    assert done.returncode == 0, done.stderr
    return {name: folder / f"squeezenet_v1_1-224-{name}.tflite" for name in ("float32", "int8")}
