"""Which ErrorReasons each rpc can answer, read from the code: the functions, statements and scripts that it reaches."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias

from antrian.errors import Reason
from protos.openapi import read_comments

ROOT = Path(__file__).parents[2]
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_MODULES = ("antrian", "server")
_OF_STORES = frozenset({Reason.STORE_UNAVAILABLE, Reason.STORE_FULL})  # what the middleware makes of a failing store
_REFUSED = r"(?:\bthen|\bselect|\{) '([A-Z_]+)'"
_FILES = {path.stem: path for kind in ("*.sql", "*.lua") for path in (ROOT / "antrian").rglob(kind)}


@dataclass
class _Class:
    methods: dict[str, _Function] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    """The class of an attribute."""
    made_of: dict[str, ast.expr] = field(default_factory=dict)
    """What an attribute is assigned, which may be a method in a wrapper."""


@dataclass
class _Code:
    """Functions by name, where the name is unique; classes by name."""

    functions: dict[str, list[_Function]] = field(default_factory=dict)
    classes: dict[str, _Class] = field(default_factory=dict)


@cache
def _code() -> _Code:
    code = _Code()
    for folder in _MODULES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "v1" not in path.parts:
                for node in ast.parse(path.read_text("utf-8")).body:
                    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                        code.functions.setdefault(node.name, []).append(node)
                    elif isinstance(node, ast.ClassDef):
                        code.classes[node.name] = _read_class(node)
    return code


def _read_class(node: ast.ClassDef) -> _Class:
    found = _Class()
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            found.methods[part.name] = part
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            found.types[part.target.id] = ast.unparse(part.annotation)
    for method in found.methods.values():
        given = _annotations(method)
        for inner in ast.walk(method):
            for target, value in _assignments(inner):
                found.made_of[target] = value
                if isinstance(value, ast.Name) and value.id in given:
                    found.types[target] = given[value.id]
                elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
                    found.types[target] = value.func.id
    return found


def _assignments(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The attributes of self that a statement assigns, with the values."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        if isinstance(target, ast.Tuple) and isinstance(value, ast.GeneratorExp):
            names = value.generators[0].iter  # one script each
            pairs = list(zip(target.elts, names.elts, strict=True)) if isinstance(names, ast.Tuple) else []
        for one, of in pairs:
            if isinstance(one, ast.Attribute):
                yield one.attr, of
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute) and node.value:
        yield node.target.attr, node.value


def _annotations(node: _Function) -> dict[str, str]:
    arguments = [*node.args.args, *node.args.kwonlyargs]
    return {one.arg: ast.unparse(one.annotation) for one in arguments if one.annotation}


class _Walk:
    """What one rpc reaches."""

    def __init__(self) -> None:
        self.reasons = set[Reason]()
        self._seen = set[int]()

    def visit(self, node: ast.AST, owner: str) -> None:
        """Notes the reasons that a function of that class names, and follows what it calls."""
        if id(node) in self._seen:
            return
        self._seen.add(id(node))
        types = _annotations(node) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else {}
        for part in (node, *_walk(node)):
            match part:
                case ast.Attribute(value=ast.Name(id="Reason"), attr=name):
                    self.reasons.add(Reason(name))
                case ast.Call(func=ast.Name(id="sql" | "_sql"), args=[ast.Constant(value=str(name))]):
                    self._read(name)
                case ast.Constant(value=str(name)) if name in _FILES:
                    self._read(name)
                case ast.Name(id="invalid"):
                    self.reasons.add(Reason.INVALID_FIELD)
                case ast.Name(id=name):
                    self._follow_name(name)
                case ast.Attribute():
                    self._follow_attribute(part, owner, types)

    def _read(self, name: str) -> None:
        """A statement, or a script."""
        self.reasons |= _OF_STORES
        text = _FILES[name].read_text("utf-8")
        self.reasons |= {Reason(name) for name in re.findall(_REFUSED, text) if name in set(Reason)}

    def _follow_name(self, name: str) -> None:
        functions = _code().functions.get(name, [])
        if len(functions) == 1:
            self.visit(functions[0], "")

    def _follow_attribute(self, node: ast.Attribute, owner: str, types: dict[str, str]) -> None:
        code, name = _code(), node.attr
        if isinstance(node.value, ast.Name) and node.value.id == "nouns":
            snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")
            if snake in _FILES:  # a command, which the statement of its name executes
                self._read(snake)
            return
        kind = self._type(node.value, owner, types)
        if kind in code.classes:
            self._follow_member(kind, name)
        elif isinstance(node.value, ast.Name) and node.value.id in {"rules", "words", "convert"}:
            self._follow_name(name)
        elif not kind:
            holders = [one for one, found in code.classes.items() if name in found.methods]
            if len(holders) == 1:
                self._follow_member(holders[0], name)

    def _follow_member(self, kind: str, name: str) -> None:
        found = _code().classes[kind]
        if name in found.methods:
            self.visit(found.methods[name], kind)
        elif name in found.made_of:
            self.visit(found.made_of[name], kind)

    def _type(self, node: ast.expr, owner: str, types: dict[str, str]) -> str:
        match node:
            case ast.Name(id="self"):
                return owner
            case ast.Name(id=name):
                return types.get(name, "")
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if owner:
                return _code().classes[owner].types.get(name, "")
        return ""


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All parts but what is tried and whose refusal goes no further."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.Try) and any(_swallows(handler) for handler in part.handlers):
            continue
        if not isinstance(part, ast.arguments):
            yield part
            yield from _walk(part)


def _swallows(handler: ast.ExceptHandler) -> bool:
    caught = isinstance(handler.type, ast.Name) and handler.type.id == "AntrianError"
    return caught and not any(isinstance(part, ast.Raise) for part in ast.walk(handler))


@cache
def listed(rpc: str) -> frozenset[Reason]:
    """The reasons that the protos list for "Service.Rpc": its own, and those of every rpc of the service."""
    comments, names = read_comments(), "[A-Z_]{5,}"
    own = comments[f"antrian.v1.{rpc}"].partition(" Errors: ")[2]
    every = comments[f"antrian.v1.{rpc.partition('.')[0]}"].partition("Every rpc can return ")[2].partition(".")[0]
    return frozenset(Reason(name) for name in re.findall(names, f"{own} {every}"))


def reached(kind: str, *methods: str) -> set[Reason]:
    """The reasons that these methods of a class can refuse with."""
    walk = _Walk()
    for name in methods:
        walk.visit(_code().classes[kind].methods[name], kind)
    return walk.reasons
