"""All lists, by the name of their room."""

from tests.mutants import (
    of_dense,
    of_engine,
    of_features,
    of_generation,
    of_losses,
    of_methods,
    of_pat,
    of_planning,
    of_statistics,
    of_tables,
    of_tasks,
    of_whole_images,
)
from tests.mutants.mutant import Mutant

ROOMS: dict[str, list[Mutant]] = {
    "pat": of_pat.MUTANTS,
    "methods": of_methods.MUTANTS,
    "losses": of_losses.MUTANTS,
    "tasks": of_tasks.MUTANTS,
    "dense": of_dense.MUTANTS,
    "features": of_features.MUTANTS,
    "generation": of_generation.MUTANTS,
    "planning": of_planning.MUTANTS,
    "engine": of_engine.MUTANTS,
    "statistics": of_statistics.MUTANTS,
    "tables": of_tables.MUTANTS,
    "whole images": of_whole_images.MUTANTS,
}
