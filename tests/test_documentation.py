"""The documents say what the code says."""

from pathlib import Path

import pytest
from tests.kernels.cases import MAPS

import pushforward as pf
from pushforward.flows import RECIPES

DOCS = Path(__file__).parents[1] / "docs"


def table_of_recipes():
    """The recipes as the page lists them, by year."""
    rows = [
        "| recipe | paper | year | density | sampling | choose it for |",
        "|---|---|---|---|---|---|",
    ]
    for one in sorted(RECIPES.values(), key=lambda one: (one.year, one.name)):
        link = f"[{one.paper}](https://arxiv.org/abs/{one.paper})"
        facts = (f"`{one.name}`", link, one.year, one.density, one.sampling, one.choose)
        rows.append(f"| {' | '.join(map(str, facts))} |")
    return "\n".join(rows)


def test_the_page_of_flows_lists_every_recipe():
    assert table_of_recipes() in (DOCS / "flows.md").read_text()


@pytest.mark.parametrize("room", ["transforms", "maps", "bases"])
def test_the_page_of_flows_names_every_part(room):
    page = (DOCS / "flows.md").read_text()
    contracts = {"Transform", "Map", "Base", "as_base"}
    missing = [n for n in getattr(pf, room).__all__ if n not in contracts and f"`{n}`" not in page]
    assert not missing


def test_the_page_of_kernels_names_every_map_that_has_one():
    page = (DOCS / "kernels.md").read_text(encoding="utf-8")
    for case in MAPS:
        assert f"`{type(case.build()).__name__}`" in page
    for file in ("kernels.c", "types.h", "body.h", "map.h"):
        assert (Path(pf.__file__).parent / "kernels/csrc" / file).exists()
        assert file in page
