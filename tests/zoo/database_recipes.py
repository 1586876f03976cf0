"""Registers all recipes."""

import debian_recipes  # noqa: F401
import python_recipes  # noqa: F401
import schema_recipes  # noqa: F401
