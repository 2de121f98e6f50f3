"""edgekit's own export of the float model by a recipe; the setting `recipe` is a name of edgekit/recipe.py."""

from __future__ import annotations

import pickle

from edgekit import export, graph, recipe, runtime
from quantization.peers import job as jobs


def main() -> None:
    """Exports a whole artifact: quantized, with its card, and proved to run in a child process."""
    job = jobs.read()
    chosen = recipe.find(job.settings["recipe"])
    with job.own.open("rb") as file:
        trained, samples = pickle.load(file)
    runtime.version(), graph.load(trained.tflite)  # imports what edgekit imports late: no tool's imports are timed
    with jobs.stopwatch() as spent:
        made = export.export(trained, chosen, job.folder, samples)
    jobs.finish(job, jobs.Report([made.path], spent, ("edgekit", "ai-edge-litert")))


if __name__ == "__main__":
    main()
