"""One module a family, one function a paper: the sentence filled in, with a claim that can fail."""

from acclimate.recipes.recipe import Finding, Recipe, RecipeError, Result, Sentence, all_recipes, recipe, written
from acclimate.recipes.verify import results, verify, verify_all

__all__ = [
    "Finding",
    "Recipe",
    "RecipeError",
    "Result",
    "Sentence",
    "all_recipes",
    "recipe",
    "results",
    "verify",
    "verify_all",
    "written",
]
