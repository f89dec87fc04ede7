"""The list of private names has each that the package uses, and no other."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from functools import cache

from tests.house.modules import DOORS, PACKAGE, PATHS, tree_of
from tests.support.private_names import EVERY_NAME

# Their owners document them: Django, and Python of named tuples.
DOCUMENTED = {"_meta", "_state", "_default_manager", "_base_manager", "_replace", "_fields", "_asdict", "_make"}
# Of a module that needs Django 6, and of one that needs a project with the admin.
UNIMPORTABLE = {"loading.refresh_task", "contrib.admin.admin"}

DELETED = {door for door in (*DOORS, "pytest_plugin") if not any(PACKAGE.glob(f"{door}*"))}
LISTED = {(module, each.name) for names in EVERY_NAME.values() for each in names for module in each.used_in}


def is_private(name: object) -> bool:
    """Tell whether a name has one underscore before it."""
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED


def used_in(tree: ast.AST) -> Iterator[str]:
    """Give each private attribute that code names: also as text, and as a method or attribute of a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "hasattr", "setattr", "delattr"}:
            yield from (
                each.value for each in node.args[1:2] if isinstance(each, ast.Constant) and is_private(each.value)
            )


def made_in(tree: ast.AST) -> Iterator[str]:
    """Give each private name that code makes: functions, attributes of classes and of their instances."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # `__slots__`
            yield node.value


@cache
def ours() -> set[str]:
    """Return the private names that the package makes."""
    return {name for module in PATHS for name in made_in(tree_of(module)) if is_private(name)}


def inherited(module: str) -> Iterator[str]:
    """Give the private names that classes of a module take or override, of bases that are not ours."""
    loaded = importlib.import_module(f"cachedeco.{module}")
    classes = [each for each in vars(loaded).values() if inspect.isclass(each) and each.__module__ == loaded.__name__]
    names = {*used_in(tree_of(module)), *filter(is_private, made_in(tree_of(module)))}
    for cls in classes:
        for base in cls.__mro__:
            # What every generic class of typing and every dataclass has is documented, or no business of ours.
            if base.__module__.partition(".")[0] in {"cachedeco", "builtins", "typing"}:
                continue
            made = vars(base).get("__init__")
            own = made.__code__.co_names if inspect.isfunction(made) else ()
            yield from (name for name in names if name in vars(base) or name in own)


def private_names_of(module: str) -> set[str]:
    """Return the private names of others that a module uses."""
    foreign = {name for name in used_in(tree_of(module)) if name not in ours()}
    return foreign if module in UNIMPORTABLE else foreign | set(inherited(module))


def test_each_private_name_is_listed() -> None:
    """What a module uses of others that begins with an underscore is in the list."""
    used = {(module, name) for module in PATHS if "__init__" not in module for name in private_names_of(module)}

    assert [] == sorted(used - LISTED)


def test_each_listed_name_is_used() -> None:
    """What the list has is used where it says: as an attribute, or as a method or attribute of a class of ours."""
    listed = {(module, name) for module, name in LISTED if module.partition(".")[0] not in DELETED}
    used = {
        (module, name)
        for module in {module for module, _ in listed}
        for tree in [tree_of(module)]
        for name in (
            *(node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)),
            *used_in(tree),
            *made_in(tree),
        )
    }

    assert [] == sorted(listed - used)
