"""Errors: one tree, drawn in the docstring as it is."""

import inspect

from feedback import errors


def classes() -> list[type[Exception]]:
    return [found for _, found in inspect.getmembers(errors, inspect.isclass) if issubclass(found, Exception)]


def test_every_error_descends_from_one_root() -> None:
    assert len(classes()) > 10
    assert all(issubclass(found, errors.WhetstoneError) for found in classes())


def test_every_error_says_when_it_is_raised() -> None:
    assert all(found.__doc__ for found in classes())


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if "+--" not in line:
            if line.strip() == "WhetstoneError":
                path = ["WhetstoneError"]
            continue
        depth = line.index("+--") // 4
        name = line.split("+--")[1].split()[0]
        path = [*path[:depth], name]
        drawn[name] = path[-2]
    coded = {found.__name__: found.__bases__[0].__name__ for found in classes() if found is not errors.WhetstoneError}
    assert drawn == coded


def test_a_lost_lease_is_a_conflict_so_that_callers_need_one_handler() -> None:
    assert issubclass(errors.LeaseLost, errors.Conflict)
    assert issubclass(errors.Conflict, errors.LedgerError)


def test_an_overload_says_when_to_come_back() -> None:
    assert errors.Overloaded("full", retry_after_s=3.0).retry_after_s == 3.0
