"What a statement imports of the package itself."
import ast

PACKAGE = "fourier_mask"


def own_modules(node: ast.AST) -> list[str]:
    "Names of the package's modules that a node imports; the package's own name for its root."
    if isinstance(node, ast.Import):
        paths = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        module = ".".join(filter(None, [PACKAGE if node.level else None, node.module]))
        paths = [f"{module}.{alias.name}" for alias in node.names] if module == PACKAGE else [module]
    else: return []
    return [path.split(".")[1] if "." in path else path for path in paths if path.split(".")[0] == PACKAGE]
