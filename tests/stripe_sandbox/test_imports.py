"""The modules of billing_app import each other in one direction only."""

from graphlib import CycleError, TopologicalSorter

import grimp


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, each imported by the next; empty if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_imports_form_no_circle() -> None:
    graph = grimp.build_graph("billing_app", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    assert circle_in(imports) == []


def test_circle_check_finds_a_circle() -> None:
    imports = {"routes": {"rules"}, "rules": {"states"}, "states": {"rules"}}
    assert set(circle_in(imports)) == {"rules", "states"}
